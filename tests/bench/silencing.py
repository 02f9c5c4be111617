"""Payments of everything a loan owes, and the moment from which the notifier's committed state knows: nothing goes out after that."""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import asyncpg
import msgspec

from libs.common.bus.kafka import KafkaBus
from libs.common.clock import WallClock, stopwatch
from libs.common.contracts.overdue_facts import OverdueFact
from tests.bench.events import INTEREST, PRINCIPAL, TENANT, Sent, disbursed, repaid

AT_ONCE, EVERY_S = 2, 0.1
"""Twenty payments a second."""
LOOK_EVERY_S = 0.02
_NEWEST = (
    "select w.loan_id, f.fact from unnest($1::text[]) as w(loan_id) cross join lateral"
    " (select fact from notifier.facts where tenant = $2 and borrower_id = 'B-' || w.loan_id and loan_id = w.loan_id offset 0) f"
)
"""Key by key: the table may be large, and its statistics out of date."""
_fact = msgspec.json.Decoder(OverdueFact).decode


def late(loan_id: str, today: datetime) -> Sent:
    """Return a loan whose first instalment fell due yesterday."""
    made = disbursed(loan_id, 1, today)
    for at, row in enumerate(made.data["schedule"]):
        row["due_on"] = (today + timedelta(days=30 * at - 1)).date().isoformat()
    return made


def paid(loan_id: str, now: datetime) -> Sent:
    """Return the payment of what it owes, made now."""
    made = repaid(loan_id, 0, now)
    made.data.update(amount=PRINCIPAL + INTEREST, paid_at=now.isoformat())
    return Sent(made.id, made.type, now, loan_id, made.data)


@dataclass
class Silencing:
    """Pays one loan after the other, and records when each payment was sent and since when the notifier knew."""

    bus: KafkaBus
    loans: Sequence[str]
    over: bool = False
    sent: dict[str, tuple[float, datetime]] = field(default_factory=dict)
    """By loan: the stopwatch and the clock."""
    silent: dict[str, float] = field(default_factory=dict)

    async def pay(self) -> None:
        """Send a few now, a few a little later, until it is over."""
        began = stopwatch()
        for turn in itertools.count():
            if self.over:
                return
            some = self.loans[turn * AT_ONCE : (turn + 1) * AT_ONCE]
            if not some:
                raise RuntimeError("there are no loans left to pay")
            now = WallClock().now()
            self.sent.update({loan: (stopwatch(), now) for loan in some})
            await self.bus.publish([paid(loan, now).message for loan in some])
            await asyncio.sleep(max(0.0, began + (turn + 1) * EVERY_S - stopwatch()))

    async def listen(self, url: str) -> None:
        """Poll what the notifier has committed, until it is over and nothing is owed any more."""
        conn = await asyncpg.connect(url)
        try:
            look = await conn.prepare(_NEWEST)
            while not self.over or len(self.silent) < len(self.sent):
                rows = await look.fetch([loan for loan in self.sent if loan not in self.silent], TENANT)
                now = stopwatch()
                self.silent.update({row["loan_id"]: now for row in rows if _fact(row["fact"]).overdue.total == 0})
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            await conn.close()

    def to_silence(self, began: float, ended: float) -> list[float]:
        """Return how many milliseconds it took for each payment sent between two moments."""
        return [(self.silent[loan] - at) * 1000 for loan, (at, _) in self.sent.items() if began <= at <= ended]

    def to_fact(self, said: Mapping[str, int], began: float, ended: float) -> list[float]:
        """Return the same up to the fact on the bus, by the moments at which facts arrived there."""
        sent = [(loan, at) for loan, (on_watch, at) in self.sent.items() if began <= on_watch <= ended]
        return [said[loan] - at.timestamp() * 1000 for loan, at in sent]


def percentiles(milliseconds: Sequence[float]) -> str:
    """Format the median and the 99th percentile."""
    places = statistics.quantiles(milliseconds, n=100)
    return f"median {places[49]:,.0f} ms, 99 of 100 within {places[98]:,.0f} ms"
