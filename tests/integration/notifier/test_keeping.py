"""What of the past is deleted and what stays: what was decided and done, by whom and why, is not lost."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text

from libs.common.clock import DrivenClock
from libs.common.sweeping import Sweep, Sweeper
from services.notifier.store import keeping
from tests.integration.notifier.test_authorizing import authorize, late, options
from tests.integration.notifier.world import MORNING, World, a_world
from tests.support.postgres import Databases

KEPT = timedelta(days=90)
OLD, YOUNG = MORNING - KEPT - timedelta(seconds=1), MORNING - KEPT + timedelta(seconds=1)
ROWS = {
    "requests": (
        keeping.forget_requests, "callbacks", "sealed",
        ["insert into notifier.callbacks (tenant, provider, received_at, sealed) values ('t', 'p', :{at}, convert_to('{at}', 'UTF8'))"],
        {b"young"},
    ),
    "history": (
        keeping.forget_history, "provider_events", "kind || coalesce(by, '')",
        [
            "insert into notifier.provider_events (tenant, name, at, kind, by, detail) values ('t', 'p', :{at}, '{at}-', 'wu', '')",
            "insert into notifier.provider_events (tenant, name, at, kind, by, detail) values ('t', 'p', :{at}, '{at}', null, '')",
        ],
        {"old-wu", "young-wu", "young"},
    ),
    "sandbox": (
        keeping.forget_sandbox, "sandbox_messages", "id",
        [("insert into notifier.sandbox_messages (id, tenant, task_id, borrower_id, channel, accepted_at)"
         " values ('{at}', 't', 'k', 'b', 'sms', :{at})")],
        {"young"},
    ),
    "nameless": (
        keeping.forget_nameless, "nameless_contacts", "lookup",
        [("insert into notifier.nameless_contacts (tenant, lookup, at, channel, result, direction)"
          " values ('t', '{at}', :{at}, 'call', '', 'outbound')")],
        {"young"},
    ),
    "unclaimed": (
        keeping.forget_unclaimed, "replies", "lookup || coalesce(convert_from(sealed, 'UTF8'), '')",
        [
            ("insert into notifier.replies (tenant, provider, id, channel, lookup, borrowers, wishes, signed, received_at, sealed)"
             " values ('t', 'p', convert_to('{at}" + who + "', 'UTF8'), 'sms', '{at}', '" + whose + "', array[]::text[], true, :{at},"
             " convert_to('" + who + "', 'UTF8'))")
            for who, whose in (("stranger", "{{}}"), ("b1", "{{b1}}"))
        ],
        {"", "youngstranger", "oldb1", "youngb1"},
    ),
    "parts": (
        keeping.forget_parts, "parts", "provider_ref",
        ["insert into notifier.parts values ('t', 'p', '{at}', 'm', 2, :{at})"],
        {"young"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ROWS)
async def test_what_is_old_goes_and_what_is_younger_or_was_done_by_a_person_stays(databases: Databases, what: str) -> None:
    drop, table, shown, statements, left = ROWS[what]
    async with databases.fresh("notifier") as engine:
        async with engine.begin() as conn:
            for at, moment in (("old", OLD), ("young", YOUNG)):
                for statement in statements:
                    await conn.execute(text(statement.format(at=at)), {at: moment})
        await Sweeper(engine, DrivenClock(MORNING), "notifier", [Sweep(KEPT, drop)]).sweep(asyncio.Event())
        async with engine.connect() as conn:
            assert set((await conn.execute(text(f"select {shown} from notifier.{table}"))).scalars()) == left


async def test_a_slot_goes_when_it_lapsed_long_ago_and_a_contact_made_in_one_stays(databases: Databases) -> None:
    async with a_world(databases, options=options()) as world:
        await late(world, "b1", "b2", "b3", addresses={"sms": "+8613800000001", "call": "+8613800000002"})
        used, unused, replaced = [await authorize(world, who) for who in ("b1", "b2", "b3")]
        await world.recorded("b1", used["reservation"]["id"])
        await world.recorded("b3", "k3")
        world.clock.advance(timedelta(days=91))
        await swept(world)
        assert (await world.get("/v1/borrowers/b2/contacts"))["items"] == []
        [made] = (await world.get("/v1/borrowers/b1/contacts"))["items"]
        assert (made["contact_id"], made["decision"]["facts"]) == (used["reservation"]["id"], {"loan-b1": [1, 1]})
        [made] = (await world.get("/v1/borrowers/b3/contacts"))["items"]
        assert (made["contact_id"], made["decision"]["facts"]) == ("k3", {"loan-b3": [1, 1]})
        assert (unused["decision"], replaced["decision"]) == ("allow", "allow")
        numbered = await world.scalar("select array_agg(distinct contact_id order by contact_id) from notifier.contact_numbers")
        assert numbered == ["k3", used["reservation"]["id"]]


async def swept(world: World) -> None:
    await Sweeper(world.engine, world.clock, "notifier", [Sweep(KEPT, keeping.forget_slots)]).sweep(asyncio.Event())
