"""Random histories of loans, as the documents that a wallet posts, with many events on the same days."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any

Document = dict[str, Any]
ENTRIES = [f"{when}_{part}" for when in ("past_due", "due", "in_advance") for part in ("penalty", "fee", "interest", "principal")]
KINDS = ("repayment", "down_payment", "recovery", "goodwill_credit", "merchant_issued_refund", "payout_refund", "charge_adjustment")
COMPONENTS = ("principal", "interest", "fee", "penalty")
DAYS = (-3, 0, 1, 5, 9, 10, 11, 15, 19, 20, 21, 25, 29, 30, 31, 40)
"""On due dates or next to them."""
HOURS = (0, 6, 15, 16, 17, 23)
"""On both sides of midnight in the zones of the loans."""
AMOUNTS = (0, 1, 2, 7, 50, 99, 100, 101, 250, 300, 1000)
RULES = ("next", "last", "spread")
BOUNDS = [{"name": "A", "up_to": 5}, {"name": "B", "up_to": 12}, {"name": "C", "up_to": None}]


def on(day: int) -> str:
    return (date(2026, 1, 1) + timedelta(days=day)).isoformat()


class Story:
    """One loan and its history."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.known: dict[str, list[str]] = {}

    def one(self, several: Sequence[Any]) -> Any:
        return self.chance.choice(several)

    def day(self) -> str:
        return on(self.one(DAYS))

    def moment(self) -> str:
        return datetime.combine(date.fromisoformat(self.day()), time(self.one(HOURS), self.one((0, 1))), UTC).isoformat()

    def amount(self) -> int:
        return int(self.one(AMOUNTS))

    def target(self, name: str) -> str:
        """An id in use, or now and then an unknown one."""
        return str(self.one([*self.known.get(name, ()), "none"]))

    def schedule(self) -> list[Document]:
        due = sorted(self.chance.sample((0, 5, 10, 20, 20, 30), self.one((0, 1, 2, 3, 3, 4))))
        parts = ((0, 100, 100, 101), (0, 0, 10), (0, 0, 5), (0, 0, 3))
        return [
            {
                "n": n, "due_on": on(day), "down_payment": self.one((False, False, False, True)),
                **{name: self.one(sums) for name, sums in zip(COMPONENTS, parts, strict=True)},
            }
            for n, day in enumerate(due, 1)
        ]  # fmt: skip

    def product(self) -> Document:
        allocation = {
            "mode": self.one(("horizontal", "vertical")),
            "order": self.one((ENTRIES, self.chance.sample(ENTRIES, len(ENTRIES)))),
            "future_instalments": {"default": self.one(RULES), self.one(KINDS): self.one(RULES)},
            "charge_class_by": self.one(("instalment_due_date", "charge_due_date")),
            "charges_known": self.one(("from_their_date", "from_the_start")),
            "chargeback_split": self.one((["principal"], ["principal"], ["penalty", "fee", "interest", "principal"], ["fee"])),
            "chargeback_skips_down_payment": self.one((True, False)),
        }
        return {
            "grace_days": self.one((0, 0, 3)),
            "tolerance": self.one(({}, {}, {"amount": 2, "percent": 1.5})),
            "buckets": {"by": self.one(("past_due_days", "delinquent_days")), "none": "M0", "bounds": BOUNDS},
            "allocation": allocation,
        }

    def disbursed(self) -> Document:
        own = {"grace_days": 1, "tolerance": {"amount": 1}, "allocation": {"mode": "vertical", "future_instalments": {"default": "spread"}}}
        name = self.one((None, None, *own))
        return {
            "borrower_id": "B", "product": "p", "currency": "CNY", "disbursed_on": on(0), "jurisdictions": ["CN"],
            "timezone": self.one(("Asia/Shanghai", "UTC", "America/New_York")), "schedule": self.schedule(),
            **({} if name is None else {name: own[name]}),
        }  # fmt: skip

    def charge(self) -> Document:
        n = self.one((None, None, 1, 2, 3, 4))
        return {"kind": self.one(COMPONENTS), "amount": self.amount(), "due_on": self.day(), "n": n}

    def waiver(self) -> Document:
        whole = self.one((None, self.amount()))
        if self.one((True, False)):
            return {"charge_id": self.target("charge_id"), "amount": whole}
        return {"n": self.one((1, 2, 3, 4, 9)), "component": self.one(COMPONENTS), "amount": whole}

    def repayment(self) -> Document:
        told = [{"n": self.one((1, 2, 3)), "principal": self.amount(), "fee": self.one((0, 4))} for _ in range(self.one((0, 0, 0, 1, 2)))]
        return {"amount": self.amount(), "paid_at": self.moment(), "kind": self.one(KINDS), "allocations": told}

    def instalment(self) -> Document:
        currency = self.one((None, None, None, "CNY", "EUR"))
        return {"due_on": self.day(), "principal": self.amount(), "fee": self.one((0, 5)), "currency": currency}

    def pause(self) -> Document:
        day = self.one(DAYS)
        return {"from": on(day), "until": self.one((None, on(day + self.chance.randint(0, 15))))}

    def rescheduled(self) -> Document:
        return {"schedule": self.schedule(), "effect": self.one(("from_start", "from_date")), "effective_on": self.one((None, self.day()))}

    def events(self, most: int) -> list[Document]:
        """Its events in any order of arrival, some of them twice."""
        made = [self.event(number, kind) for number, kind in enumerate(["loan.disbursed", *(self.one(OFTEN) for _ in range(most))])]
        made += [self.one(made)]
        self.chance.shuffle(made)
        return made

    def event(self, number: int, kind: str) -> Document:
        name, make = MADE[kind]
        key = {} if name is None else {name: number if name in {"n", "version"} else f"x{number}"}
        data = {"loan_id": "L", **key, **{part: value for part, value in make(self).items() if value is not None}}
        self.known.setdefault(name or "", []).append(f"x{number}")
        source = self.one(("a", "a", "b"))
        attributes = {"specversion": "1.0", "id": f"e{number}", "source": source, "type": f"wallet.{kind}.v1", "time": self.moment()}
        return {**attributes, "data": data}


MADE: dict[str, tuple[str | None, Callable[[Story], Document]]] = {
    "repayment.received": ("repayment_id", Story.repayment),
    "charge.added": ("charge_id", Story.charge),
    "charge.waived": ("waiver_id", Story.waiver),
    "instalment.due": ("n", Story.instalment),
    "loan.rescheduled": ("version", Story.rescheduled),
    "repayment.charged_back": (
        "chargeback_id",
        lambda told: {"repayment_id": told.target("repayment_id"), "amount": told.amount(), "at": told.moment()},
    ),
    "credit.refunded": ("refund_id", lambda told: {"amount": told.amount(), "at": told.moment()}),
    "repayment.reversed": (None, lambda told: {"repayment_id": told.target("repayment_id")}),
    "charge.waiver_reversed": (None, lambda told: {"waiver_id": told.target("waiver_id")}),
    "loan.charge_off_reversed": (None, lambda told: {"charge_off_id": told.target("charge_off_id")}),
    "loan.paused": (None, Story.pause),
    "loan.resumed": (None, lambda told: {"on": told.day()}),
    "loan.charged_off": ("charge_off_id", lambda told: {"on": told.day()}),
    "loan.written_off": ("write_off_id", lambda told: {"on": told.day()}),
    "loan.closed": (None, lambda told: {"on": told.day()}),
    "event.retracted": (None, lambda told: {"event_id": f"e{told.chance.randint(1, 9)}", "source": told.one((None, "a", "b"))}),
    "repayment.pending": ("repayment_id", lambda told: {"amount": 1, "until": told.moment()}),
    "loan.disbursed": (None, Story.disbursed),
}
TIMES = {
    "repayment.received": 18, "charge.added": 8, "repayment.charged_back": 8,
    "loan.written_off": 1, "loan.closed": 1, "loan.disbursed": 1,
}  # fmt: skip
OFTEN = [kind for kind in MADE for _ in range(TIMES.get(kind, 3))]
