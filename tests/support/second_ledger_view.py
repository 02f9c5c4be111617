"""What the second reading of the ledger answers to `GET /v1/loans/{id}?as_of=`."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

from tests.support.second_ledger import Event, Fold, Movement, fold, told
from tests.support.second_ledger_rows import COMPONENTS, Debt, Row, zero

ONE = timedelta(days=1)
Answer = dict[str, Any]


def answer(events: Sequence[Event], product: Mapping[str, Any], as_of: date) -> Answer | None:
    """The state of a loan on a day, from all events that came, in any order; None while no loan is known."""
    story = told(events, product)
    return None if story is None else Shown(fold(story, as_of), as_of).answer()


class Shown:
    """A folded loan looked at on a day."""

    def __init__(self, made: Fold, as_of: date) -> None:
        self.made, self.story, self.as_of = made, made.story, as_of
        self.data = made.story.data
        self.rows = made.book.rows()
        given = self.data.get("grace_days")
        self.grace: int = made.story.product["grace_days"] if given is None else given
        self.credit = made.book.credit()
        self.owed = {name: sum(debt.open for row in self.rows for debt in row.of(name)) for name in COMPONENTS}
        self.status = self.find_status()
        self.paused = paused_days(self.story)

    def find_status(self) -> str:
        if self.made.ended:
            return self.made.ended
        if sum(self.owed.values()):
            return "active"
        return "overpaid" if self.credit else "closed"

    def is_met(self, row: Row) -> bool:
        tolerance = self.data.get("tolerance") or self.story.product["tolerance"]
        due = sum(debt.amount for debt in row.debts)
        return row.open <= max(Fraction(tolerance["amount"]), due * Fraction(str(tolerance["percent"])) / 100)

    def overdue_rows(self) -> list[Row]:
        return [row for row in self.rows if row.open and row.due_on < self.as_of] if self.status == "active" else []

    def brought_back(self, row: Row) -> tuple[date | None, int]:
        """The day on which chargebacks took more than the instalment was paid, and by how much."""
        left, since = row.paid, None
        for debt in [debt for debt in row.debts if debt.is_chargeback and debt.due_on < self.as_of]:
            left -= debt.amount
            if left < 0 and since is None:
                since = debt.due_on
        return since, max(-left, 0)

    def not_yet_due(self) -> Row | None:
        """The first instalment not yet due, where a chargeback on it counts already."""
        row = next((row for row in self.rows if row.open and row.due_on >= self.as_of), None)
        since, _ = self.brought_back(row) if row and self.status == "active" else (None, 0)
        return row if since and since < self.as_of else None

    def overdue_charges(self) -> list[tuple[Row, Debt]]:
        """The open charges whose own day is past while their instalment is not due."""
        rows = [row for row in self.rows if row.due_on >= self.as_of] if self.status == "active" else []
        return [(row, debt) for row in rows for debt in row.debts if debt.is_charge and debt.open and debt.due_on < self.as_of]

    def anchor(self) -> tuple[Row, date] | None:
        late = [(row, self.brought_back(row)[0] or row.due_on) for row in self.overdue_rows() if not self.is_met(row)]
        early = self.not_yet_due()
        if early:
            late.append((early, self.brought_back(early)[0] or early.due_on))
        late += [(row, debt.due_on) for row, debt in self.overdue_charges()]
        return min(late, key=lambda pair: (pair[1], pair[0].n), default=None)

    def overdue(self) -> dict[str, int]:
        found = zero()
        for row in self.overdue_rows():
            for debt in row.debts:
                found[debt.component] += debt.open
        for _, debt in self.overdue_charges():
            found[debt.component] += debt.open
        early = self.not_yet_due()
        if early:
            found["principal"] += self.brought_back(early)[1]
        return found

    def days(self, since: date, grace: int) -> tuple[int, int]:
        """The paused and the delinquent days since a day."""
        past = (self.as_of - since).days
        paused = sum(since + ONE * step in self.paused for step in range(past))
        return paused, max(past - grace - paused, 0)

    def bucket(self, days: int) -> str:
        buckets = self.story.product["buckets"]
        if days <= 0:
            return str(buckets["none"])
        fit = (bound["name"] for bound in buckets["bounds"] if bound["up_to"] is None or days <= bound["up_to"])
        return str(next(fit))

    def aged(self, delinquent: int) -> list[Answer]:
        by = self.story.product["buckets"]["by"]
        if by == "delinquent_days" and delinquent <= 0:
            return []
        found: dict[str, int] = {}
        for row in self.overdue_rows():
            paused, days = self.days(row.due_on, 0)
            name = self.bucket(days if by == "delinquent_days" else days + paused)
            found[name] = found.get(name, 0) + row.open
        order = [bound["name"] for bound in self.story.product["buckets"]["bounds"]]
        return [{"bucket": name, "amount": found[name]} for name in order if name in found]

    def answer(self) -> Answer:
        anchor = self.anchor()
        paused, delinquent = self.days(anchor[1], self.grace) if anchor else (0, 0)
        past = (self.as_of - anchor[1]).days if anchor else 0
        by = self.story.product["buckets"]["by"]
        return {
            "borrower_id": self.data["borrower_id"],
            "as_of": self.as_of.isoformat(),
            "events": self.story.arrived,
            "status": self.status,
            "outstanding": with_total(self.owed if self.status == "active" else zero()),
            "overdue": with_total(self.overdue()),
            "credit": self.credit,
            "anchor": {"n": anchor[0].n, "due_on": anchor[1].isoformat()} if anchor else None,
            "past_due_days": past,
            "delinquent_from": (anchor[1] + ONE * self.grace).isoformat() if anchor else None,
            "paused_days": paused,
            "delinquent_days": delinquent,
            "bucket": self.bucket(past if by == "past_due_days" else delinquent),
            "aged": self.aged(delinquent),
            "schedule": [shown_row(row, written_off=self.status == "written_off") for row in self.rows],
            "movements": [shown_movement(one) for one in self.made.movements.values()],
            "charges": [shown_charge(debt) for debt in self.made.book.added if debt.is_charge],
        }


def paused_days(story: Any) -> set[date]:
    """Every day on which the clock stands, by the union of pauses, each ended by the resumes that it holds."""
    found: set[date] = set()
    resumes = [date.fromisoformat(event["data"]["on"]) for event in story.of("loan.resumed")]
    for event in story.of("loan.paused"):
        first = date.fromisoformat(event["data"]["from"])
        until = event["data"].get("until")
        end = date.fromisoformat(until) if until else date(2035, 1, 1)
        end = min([end, *[day for day in resumes if first <= day <= end]])
        found |= {first + ONE * step for step in range(max((end - first).days, 0))}
    return found


def with_total(parts: Mapping[str, int]) -> dict[str, int]:
    return {**parts, "total": sum(parts.values())}


def by_component(debts: Sequence[Debt], name: str) -> dict[str, int]:
    return with_total({one: sum(getattr(debt, name) for debt in debts if debt.component == one) for one in COMPONENTS})


def shown_row(row: Row, *, written_off: bool) -> Answer:
    laid = [one for debt in row.debts for one in debt.laid]
    covered = [one.on for one in laid] + [debt.begins for debt in row.debts if debt.waived]
    owed = any(debt.amount for debt in row.debts)
    return {
        "n": row.n,
        "due_on": row.due_on.isoformat(),
        "down_payment": row.down_payment,
        "due": by_component(row.debts, "amount"),
        "paid": {
            "total": row.paid,
            "in_advance": sum(one.amount for one in laid if one.on < one.due_on),
            "late": sum(one.amount for one in laid if one.on > one.due_on),
        },
        "waived": by_component(row.debts, "waived"),
        "outstanding": with_total(zero()) if written_off else by_component(row.debts, "open"),
        "met_on": max(covered).isoformat() if owed and not row.open and covered else None,
    }


def shown_movement(one: Movement) -> Answer:
    return {
        "id": one.id,
        "kind": one.kind,
        "on": one.on.isoformat(),
        "amount": one.amount,
        **one.spread,
        "credit": one.credit,
        "reversed": one.reversed,
    }


def shown_charge(debt: Debt) -> Answer:
    return {
        "charge_id": debt.source.removeprefix("charge "),
        "kind": debt.component,
        "due_on": debt.due_on.isoformat(),
        "amount": debt.amount,
        "paid": debt.paid,
        "waived": debt.waived,
        "outstanding": debt.open,
    }
