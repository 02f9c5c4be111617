"""What of the past goes and what stays: of a parked event on which was decided the content goes, the decision stays."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from sqlalchemy import text

from libs.common.clock import DrivenClock
from libs.common.sweeping import Sweep, Sweeper
from services.ingest.store import keeping
from tests.support.postgres import Databases
from tests.support.wallet import NOON

KEPT = timedelta(days=90)
INSERT = (
    "insert into ingest.parked (tenant, parked_id, topic, event, error, detail, at, resolved_at, decision, decided_by, decision_reason)"
    " values ('default', :parked_id, 'wallet.loan-events', convert_to('{}', 'UTF8'), 'conflict', 'why', :at, :at_resolved,"
    " 'discarded', 'wu', 'sent twice')"
)


async def test_the_content_of_a_parked_event_goes_long_after_the_decision_and_what_waits_stays(databases: Databases) -> None:
    moments = {"open": None, "young": NOON - KEPT + timedelta(seconds=1), "old": NOON - KEPT - timedelta(seconds=1)}
    async with databases.fresh("ingest") as engine:
        async with engine.begin() as conn:
            for name, moment in moments.items():
                await conn.execute(text(INSERT), {"parked_id": name, "at": NOON - 3 * KEPT, "at_resolved": moment})
        sweeps = [Sweep(KEPT, keeping.forget_parked)]
        await Sweeper(engine, DrivenClock(NOON), "ingest", sweeps).sweep(asyncio.Event())
        async with engine.connect() as conn:
            rows = await conn.execute(text("select parked_id, convert_from(event, 'UTF8'), decided_by, decision_reason from ingest.parked"))
            found = {row[0]: tuple(row[1:]) for row in rows}
    assert found == {"open": ("{}", "wu", "sent twice"), "young": ("{}", "wu", "sent twice"), "old": ("", "wu", "sent twice")}
