"""What the second implementation of the ledger answers to `GET /v1/loans/{id}?as_of=`."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from tests.support.second_ledger import Fold, Movement, fold
from tests.support.second_ledger_rows import COMPONENTS, Added, Parts, Row, zero
from tests.support.second_ledger_story import Event, Story, told

ONE = timedelta(days=1)
Answer = dict[str, Any]


def answer(events: Sequence[Event], product: Mapping[str, Any], as_of: date) -> Answer | None:
    """The state of a loan on a day, from all events that arrived, in any order; None while no loan is known."""
    story = told(events, product)
    return None if story is None else Shown(fold(story, as_of), as_of).answer()


class Late:
    """Something overdue: on which instalment, since when, from when its own days count, and how much."""

    def __init__(self, row: Row, since: date, parts: Parts, aged_from: date | None = None) -> None:
        self.n, self.since, self.parts, self.aged_from = row.n, since, parts, aged_from or since


class Shown:
    """A folded loan viewed on a day."""

    def __init__(self, made: Fold, as_of: date) -> None:
        self.made, self.story, self.book, self.as_of = made, made.story, made.book, as_of
        given = made.story.data.get("grace_days")
        self.grace: int = made.story.product["grace_days"] if given is None else given
        self.owed = {name: sum(row.open(name) for row in self.book.rows) for name in COMPONENTS}
        self.status = self.find_status()
        self.paused = paused_days(self.story, as_of)
        self.late = sorted(self.find_late(), key=lambda one: one.since)

    def find_status(self) -> str:
        if self.made.ended:
            return self.made.ended
        if sum(self.owed.values()) or not self.book.rows:
            return "active"
        return "overpaid" if self.book.credit() else "closed"

    def unmet(self) -> list[Row]:
        return [row for row in self.book.rows if row.left and not self.book.is_met(row)] if self.status == "active" else []

    def next_due(self) -> Answer | None:
        ahead = [row for row in self.unmet() if row.due_on >= self.as_of]
        return {"n": ahead[0].n, "due_on": ahead[0].due_on.isoformat(), "total": ahead[0].left} if ahead else None

    def find_late(self) -> list[Late]:
        """What is open beyond the tolerance on instalments that were due, and what already counts of those that are not."""
        unmet = self.unmet()
        passed = [row for row in unmet if row.due_on < self.as_of]
        found = [Late(row, self.brought_back(row)[0] or row.due_on, opened(row), row.due_on) for row in passed]
        ahead = [row for row in unmet if row.due_on >= self.as_of]
        left = {row.n: opened(row) for row in ahead}
        for row in ahead[:1]:
            since, beyond = self.brought_back(row)
            if since:
                found.append(Late(row, since, take(left[row.n], ("principal", "interest", "fee", "penalty"), beyond)))
        for charge in sorted(self.book.charges, key=lambda one: one.due_on):
            for row in ahead:
                if charge.at == row.n and charge.due_on < self.as_of:
                    still = charge.amount - charge.waived - self.book.paid_of(charge)
                    parts = take(left[row.n], (charge.component,), still)
                    found += [Late(row, charge.due_on, parts)] if sum(parts.values()) else []
        return found

    def brought_back(self, row: Row) -> tuple[date | None, int]:
        """The day on which chargebacks exceeded what was paid on the instalment, and by how much; it counts from the next day."""
        left, since = sum(row.paid.values()), None
        backs = [one for one in self.book.added if one.kind == "chargeback" and one.at == row.n and one.due_on < self.as_of]
        for back in sorted(backs, key=lambda one: one.due_on):
            left -= back.amount
            if left < 0 and since is None:
                since = back.due_on
        return since, max(-left, 0)

    def days(self, since: date, grace: int) -> tuple[int, int]:
        """The paused and the delinquent days since a given day."""
        past = (self.as_of - since).days
        paused = sum(since + ONE * step in self.paused for step in range(past))
        return paused, max(past - grace - paused, 0)

    def bucket(self, days: int) -> str:
        buckets = self.story.product["buckets"]
        if days <= 0:
            return str(buckets["none"])
        return str(next(bound["name"] for bound in buckets["bounds"] if bound["up_to"] is None or days <= bound["up_to"]))

    def aged(self, delinquent: int) -> list[Answer]:
        """Each overdue instalment in the bucket of its own days, without grace; delinquent ones once the loan itself is."""
        buckets, found = self.story.product["buckets"], dict[str, int]()
        if buckets["by"] == "delinquent_days" and delinquent <= 0:
            return []
        for one in self.late:
            paused, days = self.days(one.aged_from, 0)
            name = self.bucket(days if buckets["by"] == "delinquent_days" else days + paused)
            found[name] = found.get(name, 0) + sum(one.parts.values())
        names = [bound["name"] for bound in buckets["bounds"]]
        return [{"bucket": name, "amount": found[name]} for name in names if found.get(name)]

    def answer(self) -> Answer:
        data, anchor = self.story.data, self.late[0] if self.late else None
        paused, delinquent = self.days(anchor.since, self.grace) if anchor else (0, 0)
        past = (self.as_of - anchor.since).days if anchor else 0
        overdue = {name: sum(one.parts[name] for one in self.late) for name in COMPONENTS}
        by = self.story.product["buckets"]["by"]
        return {
            **{name: data[name] for name in ("borrower_id", "product", "currency", "timezone")},
            "as_of": self.as_of.isoformat(),
            "status": self.status,
            "outstanding": with_total(zero() if self.made.ended else self.owed),
            "overdue": with_total(overdue),
            "credit": self.book.credit(),
            "anchor": {"n": anchor.n, "due_on": anchor.since.isoformat()} if anchor else None,
            "past_due_days": past,
            "delinquent_from": (anchor.since + ONE * self.grace).isoformat() if anchor else None,
            "paused_days": paused,
            "delinquent_days": delinquent,
            "bucket": self.bucket(past if by == "past_due_days" else delinquent),
            "aged": self.aged(delinquent),
            "next_due": self.next_due(),
            "schedule": [self.shown_row(row) for row in self.book.rows],
            "movements": [shown_movement(one) for one in self.made.movements.values()],
            "charges": [self.shown_charge(charge) for charge in self.book.charges],
        }

    def shown_row(self, row: Row) -> Answer:
        met_on = row.met_on or (self.made.ended_on if row.left else None)
        return {
            "n": row.n,
            "due_on": row.due_on.isoformat(),
            "down_payment": row.down_payment,
            "due": with_total(row.due),
            "paid": {"total": sum(row.paid.values()), "in_advance": row.in_advance, "late": row.late},
            "waived": with_total(row.waived),
            "outstanding": with_total(zero() if self.made.ended else opened(row)),
            "met_on": met_on.isoformat() if met_on else None,
        }

    def shown_charge(self, charge: Added) -> Answer:
        paid = self.book.paid_of(charge)
        return {
            "charge_id": charge.id,
            "kind": charge.component,
            "due_on": charge.due_on.isoformat(),
            "amount": charge.amount,
            "paid": paid,
            "waived": charge.waived,
            "outstanding": 0 if self.made.ended else charge.amount - charge.waived - paid,
        }


def opened(row: Row) -> Parts:
    return {component: row.open(component) for component in COMPONENTS}


def take(left: Parts, components: Sequence[str], amount: int) -> Parts:
    """Take up to an amount from what is left, component by component."""
    found = zero()
    for component in components:
        found[component] = min(left[component], amount)
        left[component] -= found[component]
        amount -= found[component]
    return found


def paused_days(story: Story, as_of: date) -> set[date]:
    """Every day on which the clock is stopped: the union of the pauses, each ended by the resumes within it."""
    found = set[date]()
    resumes = [date.fromisoformat(event["data"]["on"]) for event in story.of("loan.resumed")]
    for event in story.of("loan.paused"):
        day, until = date.fromisoformat(event["data"]["from"]), event["data"].get("until")
        while day < as_of and (until is None or day.isoformat() < until) and day not in resumes:
            found.add(day)
            day += ONE
    return found


def with_total(parts: Mapping[str, int]) -> Parts:
    return {**parts, "total": sum(parts.values())}


def shown_movement(one: Movement) -> Answer:
    shown = {"id": one.id, "kind": one.kind, "on": one.on.isoformat(), "amount": one.amount}
    return {**shown, **one.spread, "credit": one.credit, "explicit": one.explicit, "reversed": one.reversed}
