"""A book of late borrowers simulated in processes: borrowers a second, and how long 100,000 over 90 days would take.

python -m tests.bench.simulation --borrowers 5000 --processes 2
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import resource
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.clock import DrivenClock, stopwatch
from libs.common.contracts.overdue_facts import Amounts, Anchor, OverdueFact
from services.scheduler.proposing import written
from services.scheduler.simulation import BehaviourAsked, SimulationAsked
from services.scheduler.simulator import Simulator
from services.scheduler.store import debts, reach, simulations
from services.scheduler.store.reach import AddressKept, ConsentKept, ProfileKept, ReachRow
from services.scheduler.store.simulations import Asked
from tests.support.postgres import Databases, careful_databases

NOW = datetime(2026, 11, 24, 2, 15, tzinfo=UTC)
TODAY = date(2026, 11, 24)
ROWS = 1000
DOCUMENT = """\
policy: trial
steps:
  - {id: hello, at: {day: 1, between: "10:00-11:30"}, send: {template: gentle, channels: [sms, email]}}
  - {id: firm, at: {day: 7, between: "10:00-11:30"}, when: "debt.total >= 5000", send: {template: firm, channels: [sms, email]}}
  - {id: last, at: {day: 21, between: "10:00-11:30"}, send: {template: final, channels: [sms, email]}}
  - {id: call, at: {day: 30}, task: {queue: phone, kind: call}}
"""
_encode = msgspec.json.Encoder(order="deterministic").encode


def main() -> None:
    """Measure once, and print the result."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--borrowers", type=int, default=5000)
    ask.add_argument("--processes", type=int, default=2)
    options = ask.parse_args()
    with careful_databases() as databases:
        seconds, result = asyncio.run(_measured(databases, options.borrowers, options.processes))
    rate, cpu_ms = options.borrowers / seconds, _cpu_of_the_pool() / options.borrowers * 1000
    print(f"{options.borrowers} borrowers, {options.processes} processes: {seconds:.1f} s, {rate:.0f}/s, 100,000 in {100_000 / rate:.0f} s")
    print(f"  {cpu_ms:.2f} ms of the pool's CPU a borrower, under both policies: 100,000 take {cpu_ms * 50:.0f} s on two free cores")
    print(f"  {result['contacts']['number']} contacts, {result['active']['contacts']['number']} under the active policy")


def _cpu_of_the_pool() -> float:
    """Return the CPU seconds of the simulating processes, including their start."""
    for child in multiprocessing.active_children():
        child.join()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def _measured(databases: Databases, borrowers: int, processes: int) -> tuple[float, Any]:
    async with databases.fresh("scheduler") as engine:
        async with engine.begin() as conn:
            await _fill(conn, borrowers)
            await _ask(conn)
        async with engine.begin() as conn:
            await conn.execute(text("analyze"))
        simulator, began = Simulator(engine, DrivenClock(NOW), timedelta(seconds=2), processes), stopwatch()
        assert await simulator.run_one(asyncio.Event())
        seconds = stopwatch() - began
        async with engine.connect() as conn:
            done = await simulations.find(conn, "default", "s1")
    assert done is not None
    assert done.state == "done", done.reason
    return seconds, msgspec.json.decode(done.result)


async def _fill(conn: AsyncConnection, borrowers: int) -> None:
    for start in range(0, borrowers, ROWS):
        some = range(start, min(start + ROWS, borrowers))
        await debts.keep_newer(conn, [_debt(n) for n in some], NOW)
        await reach.keep_greater(conn, [row for n in some for row in _reach(n)], NOW)


async def _ask(conn: AsyncConnection) -> None:
    proposal = written(DOCUMENT)
    behaviour = BehaviourAsked(pays_after_contact=100_000, cured_by_day=((10, 200_000), (60, 500_000)))
    asked = SimulationAsked(mode="forward", days=90, seed=1, behaviour=behaviour)
    await simulations.add(
        conn, Asked("default", "s1", proposal.policy, None, proposal.document, proposal.hash, _encode(asked)), by="bench", at=NOW
    )


def _debt(n: int) -> debts.DebtRow:
    due_on = TODAY - timedelta(days=1 + n % 30)
    total = Amounts(principal=1000 + n % 20_000, total=1000 + n % 20_000)
    fact = OverdueFact(
        loan_id=f"L{n}", borrower_id=f"B{n:07}", product="cash-loan", currency="CNY", timezone="Asia/Shanghai", jurisdictions=("CN",),
        status="active", epoch=1, version=1, as_of=TODAY, overdue=total, outstanding=total, bucket="M1", anchor=Anchor(n=1, due_on=due_on),
        past_due_days_from=due_on, delinquent_from=due_on,
    )  # fmt: skip
    told = debts.Told.by(fact)
    return debts.DebtRow("default", fact.borrower_id, fact.loan_id, "CNY", 1, 1, TODAY, NOW, True, True, _encode(fact), told, None)


def _reach(n: int) -> list[ReachRow]:
    addresses = (AddressKept("sms", f"s{n}"), AddressKept("email", f"e{n}"))
    profile = _encode(ProfileKept(None, ("CN",), addresses))
    agreed = _encode(ConsentKept(True))
    values = {"profile": profile, "consent:sms:dunning": agreed, "consent:email:dunning": agreed}
    return [ReachRow("default", f"B{n:07}", what, NOW, what, value) for what, value in values.items()]


if __name__ == "__main__":
    main()
