"""Who would be forgotten, and when the next contact may lawfully go out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.metrics import Metrics
from libs.common.outbox import Outbox
from services.scheduler.acting import Desk
from services.scheduler.metrics import meters
from services.scheduler.parking import ParkingLimit
from services.scheduler.store import reach
from services.scheduler.store.views import UNCOVERED
from services.scheduler.watcher import WHOLE_EVERY, Alarm, CaseWatch
from tests.integration.scheduler.policy_world import DOCUMENT, Office
from tests.integration.scheduler.simulating import introduce, simulated
from tests.integration.scheduler.world import World, late, paid, scheduling
from tests.support.postgres import Databases

COUNTED = "select coalesce(reason, 'unplanned'), count(*) from scheduler.cases where state = 'open' and stage = 'overdue' group by 1"
NIGHTLY = DOCUMENT.replace('between: "10:00-11:30"', 'between: "04:00-09:00"')


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(acts=st.lists(st.tuples(st.sampled_from(["late", "paid", "stop", "hour", "day"]), st.integers(0, 3)), min_size=3, max_size=12))
async def test_reasons_are_what_a_count_of_the_whole_book_gives(databases: Databases, acts: list[tuple[str, int]]) -> None:
    async with databases.fresh("scheduler") as engine, scheduling(engine) as world:
        for version, (act, n) in enumerate(acts, 1):
            match act:
                case "late":
                    await world.tell(late(f"L{n}", f"B{n}", version=version))
                case "paid":
                    await world.tell(paid(f"L{n}", f"B{n}", version=version))
                case "stop":
                    await world.stop("hardship", borrower_id=f"B{n}")
                case _:
                    world.clock.advance(timedelta(hours=1) if act == "hour" else timedelta(days=1))
            await world.settle()
            assert (await world.get("/coverage"))["reasons"] == {row[0]: row[1] for row in await world.rows(COUNTED)}


async def test_what_is_counted_is_right_again_once_the_whole_book_was_read(world: World) -> None:
    await world.tell(late(), late("L2", "B2"))
    await world.settle()
    async with world.engine.begin() as conn:
        await conn.execute(text("delete from scheduler.cases where borrower_id = 'B2'"))
    watch = CaseWatch(world.engine, world.clock, meters(Metrics()))
    assert sum((await world.get("/coverage"))["reasons"].values()) == 2
    await watch.look()
    assert sum((await world.get("/coverage"))["reasons"].values()) == 1


async def test_a_late_debt_without_a_case_is_found_at_once_while_its_fact_is_fresh_and_by_the_hour_later(world: World) -> None:
    await world.tell(late())
    await world.settle()
    watch = CaseWatch(world.engine, world.clock, measured := meters(Metrics()))
    await watch.look()
    async with world.engine.begin() as conn:
        await conn.execute(text("delete from scheduler.cases"))
    assert [item["reason"] for item in (await world.get("/coverage"))["items"]] == ["no_case"]
    world.clock.advance(timedelta(days=2))
    assert (await world.get("/coverage"))["items"] == []
    assert [item["reason"] for item in (await world.get("/coverage", whole="true"))["items"]] == ["no_case"]
    for _ in range(2):
        await watch.look()
        assert measured.uncontacted._value.get() == 1
        world.clock.advance(WHOLE_EVERY / 3)


async def test_of_a_forgotten_case_whoever_listens_hears_once_a_spell(world: World) -> None:
    alarm = Alarm(world.engine, world.clock, Desk(world.writer, Outbox("scheduler"), meters(Metrics()), ParkingLimit()))
    await world.tell(late(), late("L2", "B2"))
    await world.settle()
    await alarm.look()
    assert await world.rows("select 1 from scheduler.timeline where kind = 'case.uncontacted'") == []
    world.clock.advance(timedelta(days=3))  # nothing was planned
    listed = (await world.get("/coverage"))["items"]
    for _ in range(2):
        await alarm.look()
    await world.settle()
    heard = sorted((one.borrower_id, one.case_id, one.reason) for one in world.of("case.uncontacted"))
    assert heard == [(one["borrower_id"], one["case_id"], one["reason"]) for one in listed]
    assert len(heard) == 2
    assert [entry["kind"] for entry in await world.story("B2")].count("case.uncontacted") == 1


async def test_coverage_reads_no_case_that_is_covered(world: World) -> None:
    await world.tell(*(late(f"L{n}", f"B{n}") for n in range(300)))
    await world.settle()
    async with world.engine.begin() as conn:
        await conn.execute(text("analyze"))
        await conn.execute(text("set local enable_seqscan = off"))
        query = text(f"explain select c.case_id from scheduler.cases c where {UNCOVERED}")
        plan = "\n".join(row[0] for row in await conn.execute(query, {"missed": datetime(2026, 11, 24, tzinfo=UTC)}))
    assert "Seq Scan" not in plan
    assert "cases_uncovered" in plan
    assert await world.rows("select case_id from scheduler.cases where covered_until < coalesce(next_at, 'infinity')") == []
    assert (await world.get("/coverage"))["uncontacted"] == 0


async def test_a_case_whose_task_was_done_and_that_nobody_looks_at_is_forgotten_after_five_minutes(world: World) -> None:
    await world.tell(late(days=14))
    await world.settle()
    for task in world.of("contact.requested"):
        await world.outcome(task, "failed", 1, reason="no_address")
    await world.settle()
    [failed] = [task for task in (await world.get("/tasks"))["items"] if task["kind"] == "contact_failed"]
    assert (await world.get("/coverage"))["uncontacted"] == 0
    async with world.engine.begin() as conn:
        await conn.execute(text("update scheduler.tasks set state = 'done', done_at = now()"))
        await conn.execute(text("update scheduler.cases set next_at = :now"), {"now": world.clock.now()})
    assert (await world.get("/coverage"))["uncontacted"] == 0
    world.clock.advance(timedelta(minutes=6))
    assert [item["case_id"] for item in (await world.get("/coverage"))["items"]] == [failed["case_id"]]


async def test_the_next_contact_says_the_first_lawful_moment_within_its_window(world: World) -> None:
    office = Office(world)
    await office.activated(NIGHTLY)
    await office.assign({"policy": "gentle-ones"})
    await introduce(world)
    await world.tell(late())
    await world.settle()
    planned = await world.next_contact()
    assert (planned["at"], planned["step"]) == ("2026-11-24T20:00:00Z", "hello")
    found = planned["lawful"]
    assert (found["at"], found["until"], found["reason"]) == ("2026-11-25T00:00:00Z", "2026-11-25T00:00:00Z", "zz-hours")
    assert (found["channel"], found["settings_unknown"]) == ("sms", "notifier: its address is not configured here")
    assert {(rule["channel"], rule["rule"], bool(rule["cite"])) for rule in found["rules"]} == {
        ("sms", "zz-hours", True), ("email", "zz-hours", True),
    }  # fmt: skip


async def test_a_next_contact_that_is_lawful_as_planned_says_on_which_channel(world: World) -> None:
    await introduce(world)
    await world.tell(late())
    await world.settle()
    await world.outcome(world.of("contact.requested")[0], "delivered", 1, channel="sms")
    await world.settle()
    planned = await world.next_contact()
    assert (planned["lawful"]["at"], planned["lawful"]["channel"]) == (planned["at"], "sms")


async def test_next_contacts_and_simulations_are_judged_as_the_tenant_has_set_it(engine: AsyncEngine) -> None:
    app = FastAPI()
    said = {"profile": "legal_floor", "role": "agency", "tenant_hours": {"mon-sun": "11:00-11:15"}, "dunning_a_day": None}

    @app.get("/v1/settings")
    async def read() -> dict[str, Any]:
        return {"settings": {**said, "brand": None}}

    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://notifier")
    async with client, scheduling(engine, notifier=client) as world:
        await world.local(0, 22)
        await introduce(world)
        await world.tell(late())
        lawful = (await world.next_contact())["lawful"]
        assert (lawful["at"], lawful["settings_unknown"]) == ("2026-11-25T03:00:00Z", None)
        assert [rule["cite"] for rule in lawful["rules"] if rule["channel"] == "sms"] == ["tenant hours"]
        played = await simulated(world, document=DOCUMENT)
        assert (played["asked"]["judged"], played["result"]["judged"]) == ({**said, "unknown": None},) * 2
        assert [refusal["cite"] for refusal in played["result"]["refusals"]] == ["tenant hours"]


async def test_what_has_been_said_is_known_with_its_purpose(world: World) -> None:
    office = Office(world)
    await office.activated(DOCUMENT.replace("template: gentle", "template: gentle, purpose: notice"))
    await office.assign({"policy": "gentle-ones"})
    await introduce(world)
    await world.tell(late())
    await world.settle()
    await world.outcome(world.of("contact.requested")[0], "delivered", 1, channel="sms")
    who, now = ("default", "B1"), world.clock.now()
    async with world.engine.connect() as conn:
        known = await reach.known(conn, [who], since=now - timedelta(days=1), before=now + timedelta(days=1))
    assert [contact.kind for contact in known[who].prior] == ["notice"]


async def test_a_next_contact_without_consent_never_goes_out_and_one_without_a_profile_cannot_be_told(world: World) -> None:
    await introduce(world, consents=())
    await world.tell(late(jurisdictions=("CO",)), late("L2", "B2"))
    await world.settle()
    for task in world.of("contact.requested"):
        await world.outcome(task, "delivered", 1, channel="sms")
    await world.settle()
    never = (await world.next_contact())["lawful"]
    assert (never["at"], never["channel"], never["until"], never["reason"]) == (None, None, None, "co-authorised-channels")
    assert any("Ley 2300" in rule["cite"] for rule in never["rules"])
    assert (await world.next_contact("B2"))["lawful"] is None
