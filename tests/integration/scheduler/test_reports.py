"""Reports on past days: what they count, and that nothing that comes later changes them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scheduler.store import reports, story
from tests.integration.scheduler.world import MORNING, TODAY, ZONE, World, late, paid


def day(after: int) -> str:
    return (TODAY + timedelta(days=after)).isoformat()


async def report(world: World, name: str, first: int, last: int, **asked: Any) -> list[dict[str, Any]]:
    found = await world.get(f"/reports/{name}", **{"from": day(first), "to": day(last), "timezone": ZONE, **asked})
    return found["items"]  # type: ignore[no-any-return]


def moves(items: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    names = ("until", "bucket_before", "bucket_after", "debts", "overdue_before", "overdue_after", "rate")
    return [tuple(item[name] for name in names) for item in items]


async def test_debts_roll_from_bucket_to_bucket_by_what_was_known_at_each_days_end(world: World) -> None:
    await world.tell(late("L1", "B1", total=100), late("L2", "B2", total=300), late("L3", "B3", total=50))
    await world.local(1, 12)
    await world.tell(late("L1", "B1", total=110, version=2, bucket="M2"), paid("L3", "B3"))
    await world.local(2, 12)
    await world.tell(late("L4", "B4", total=7))
    await world.local(4, 12)
    assert moves(await report(world, "roll-rates", 1, 3)) == [
        (day(1), "M1", "M1", 1, 300, 300, 0.333333), (day(1), "M1", "M2", 1, 100, 110, 0.333333),
        (day(1), "M1", "closed", 1, 50, 0, 0.333333),
        (day(2), "M1", "M1", 1, 300, 300, 1.0), (day(2), "M2", "M2", 1, 110, 110, 1.0), (day(2), "new", "M1", 1, 0, 7, 1.0),
        (day(3), "M1", "M1", 2, 307, 307, 1.0), (day(3), "M2", "M2", 1, 110, 110, 1.0),
    ]  # fmt: skip
    assert moves(await report(world, "roll-rates", 1, 3, every="week")) == [
        (day(3), "M1", "M1", 1, 300, 300, 0.333333), (day(3), "M1", "M2", 1, 100, 110, 0.333333),
        (day(3), "M1", "closed", 1, 50, 0, 0.333333),
        (day(3), "new", "M1", 1, 0, 7, 1.0),
    ]  # fmt: skip


async def test_a_message_is_followed_from_its_day_to_the_money(world: World) -> None:
    await world.tell(late("L1", "B1", total=100), late("L2", "B2", total=300))
    await world.settle()
    first, second = sorted(world.of("contact.requested"), key=lambda task: task.borrower_id)
    await world.outcome(first, "sent", 1, channel="sms")
    await world.outcome(first, "delivered", 2, channel="sms")
    await world.outcome(second, "failed", 1, reason="no_address")
    await world.local(1, 9)
    await world.tell(late("L1", "B1", total=40, version=2))
    await world.local(2, 9)
    await world.tell(paid("L1", "B1", version=3), paid("L2", "B2"))
    await world.local(4, 9)
    [step] = await report(world, "funnel", 0, 3, within_days=2)
    assert step == {
        "policy": "built-in", "policy_version": 1, "step": "gentle", "purpose": "dunning", "currency": "CNY", "due": 2, "requested": 2,
        "sent": 1, "delivered": 1, "failed": 1, "expired": 0, "suppressed": 0, "cancelled": 0, "observed": 1, "paid": 1, "paid_amount": 100,
    }  # fmt: skip
    [early] = await report(world, "funnel", 0, 1, within_days=2)
    assert (early["sent"], early["observed"], early["paid"]) == (1, 0, 0), "its two days are not over"


async def test_cures_are_counted_at_the_step_after_which_they_came(world: World) -> None:
    await world.tell(late("L1", "B1"), late("L2", "B2"))
    await world.settle()
    for task in world.of("contact.requested"):
        await world.outcome(task, "sent", 1, channel="sms")
    await world.local(0, 15)
    await world.tell(paid("L1", "B1"))
    await world.settle()
    await world.local(2, 10, 30)
    await world.outcome(world.of("contact.requested")[-1], "sent", 1, channel="sms")
    await world.local(4, 9)
    names = ("step", "days_late", "reached", "cured", "went_on", "still_there", "rate")
    found = [tuple(item[name] for name in names) for item in await report(world, "cure-rates", 0, 3)]
    assert found == [(None, "1-7", 2, 0, 2, 0, 0.0), ("firm", "1-7", 1, 0, 0, 1, 0.0), ("gentle", "1-7", 2, 1, 1, 0, 0.5)]


async def test_promises_are_counted_by_what_had_become_of_them(world: World) -> None:
    await world.tell(late("L1", "B1"))
    await world.settle()
    case = await world.case()
    made = (("p1", 5000), ("p2", 700), ("p3", 60))
    said = [("promise_made", p, {"amount": amount, "currency": "CNY", "channel": "call"}) for p, amount in made]
    said += [("promise_kept", "p1", {"paid": 5000}), ("promise_broken", "p2", {"paid": 100})]
    after = [("promise_kept", "p3", {"paid": 60})]
    for days, fates in ((0, said), (2, after)):
        async with world.engine.begin() as conn:
            at = MORNING + timedelta(days=days)
            told = [
                story.Entry("default", "B1", case["case_id"], at, f"case.{kind}", None, msgspec.json.encode({"promise_id": p, **detail}))
                for kind, p, detail in fates
            ]
            await story.tell(conn, told)
    await world.local(4, 9)
    names = ("currency", "channel", "state", "promises", "amount", "paid")
    first, last = [[tuple(item[name] for name in names) for item in await report(world, "promises", 0, day)] for day in (1, 3)]
    kept, broken = ("CNY", "call", "kept", 1, 5000, 5000), ("CNY", "call", "broken", 1, 700, 100)
    assert first == [broken, kept, ("CNY", "call", "open", 1, 60, 0)]
    assert last == [broken, ("CNY", "call", "kept", 2, 5060, 5060)]


async def test_how_it_felt_is_summed_up_by_the_step_whose_message_led_there(world: World) -> None:
    await world.tell(late("L1", "B1"))
    await world.settle()
    [task], case = world.of("contact.requested"), await world.case()
    said = [("bad", task.task_id), ("good", task.task_id), ("bad", None)]
    async with world.engine.begin() as conn:
        told = [msgspec.json.encode({"step": task_id and "gentle", "task_id": task_id}) for _, task_id in said]
        entries = zip(said, told, strict=True)
        who = ("default", "B1", case["case_id"])
        await story.tell(conn, [story.Entry(*who, MORNING, "case.feedback_given", how, detail) for (how, _), detail in entries])
    await world.local(1, 9)
    assert [tuple(item.values()) for item in await report(world, "feedback", 0, 0)] == [
        (None, None, None, 1, 0, 0, 1), ("built-in", 1, "gentle", 2, 1, 0, 1),
    ]  # fmt: skip


async def test_what_comes_late_or_corrects_the_past_changes_no_report_of_it(world: World) -> None:
    await world.tell(late("L1", "B1", total=100), late("L2", "B2", total=300))
    await world.settle()
    for task in world.of("contact.requested"):
        await world.outcome(task, "sent", 1, channel="sms")
    await world.local(1, 9)
    asked = [("roll-rates", {}), ("funnel", {"within_days": 1}), ("cure-rates", {}), ("promises", {})]
    before = [await report(world, name, 0, 0, **more) for name, more in asked]
    assert [len(one) for one in before] == [1, 1, 2, 0]
    await world.outcome(world.of("contact.requested")[0], "delivered", 2, channel="sms")
    await world.tell(paid("L1", "B1", as_of=TODAY), late("L2", "B2", total=1, version=2, as_of=TODAY), late("L9", "B9", days=40))
    await world.settle()
    await world.local(3, 10, 30)
    assert [await report(world, name, 0, 0, **more) for name, more in asked] == before
    assert await report(world, "roll-rates", 0, 1) != before[0]


async def test_a_day_that_may_still_be_told_of_is_not_reported(world: World) -> None:
    for first, last, code in ((0, 0, "day_not_over"), (-1, -2, "invalid_request"), (-401, -1, "invalid_request")):
        refused = await world.http.get("/v1/reports/roll-rates", params={"from": day(first), "to": day(last), "timezone": ZONE})
        assert (refused.status_code, refused.json()["code"]) == (422, code), refused.text
    nowhere = await world.http.get("/v1/reports/roll-rates", params={"from": day(-2), "to": day(-1), "timezone": "Mars/Olympus"})
    assert nowhere.status_code == 422


@pytest.mark.parametrize("name", ["roll-rates", "cure-rates", "promises", "funnel", "experiments"])
async def test_an_empty_report_still_names_its_columns(world: World, name: str) -> None:
    answered = await world.http.get(f"/v1/reports/{name}", params={"from": day(-9), "to": day(-9), "format": "csv"})
    [head] = answered.text.splitlines()
    assert len(head.split(",")) > 5
    assert await report(world, name, -9, -9) == []


async def test_a_report_comes_as_csv_too(world: World) -> None:
    await world.tell(late("L1", "B1", total=100))
    await world.local(1, 12)
    answered = await world.http.get(
        "/v1/reports/roll-rates", params={"from": day(0), "to": day(0), "timezone": ZONE, "format": "csv"}
    )  # fmt: skip
    assert answered.headers["content-type"] == "text/csv; charset=utf-8"
    assert answered.text.splitlines() == [
        "after,until,currency,bucket_before,bucket_after,debts,overdue_before,overdue_after,rate",
        f"{day(-1)},{day(0)},CNY,new,M1,1,0,100,1.0",
    ]


FULL = (
    ("insert into scheduler.cases (tenant, borrower_id, case_id, assignment, currency, policy, policy_version, state, stage, spell)"
    " select 'default', 'B' || n, 'C' || n, 'default', 'CNY', 'p', 1, 'open', 'overdue', 1 from generate_series(1, 20000) n"),
    ("insert into scheduler.timeline (tenant, borrower_id, case_id, at, kind, detail)"
    " select 'default', 'B' || n, 'C' || n, cast(:at as timestamptz) - make_interval(days => n % 300) + make_interval(hours => k),"
    " (array['case.opened', 'debt.changed', 'contact.requested', 'contact.sent', 'contact.delivered', 'debt.changed'])[k],"
    " convert_to(json_build_object('task_id', 't' || n, 'step', 's', 'loans', array['L' || n], 'purpose', 'dunning')::text, 'UTF8')"
    " from generate_series(1, 20000) n, generate_series(1, 6) k"),
    ("insert into scheduler.debt_facts (tenant, borrower_id, loan_id, epoch, version, as_of, known_at, fact, currency, status, bucket,"
    " overdue, outstanding) select 'default', 'B' || n, 'L' || n, 1, k, date '2026-01-01',"
    " cast(:at as timestamptz) - make_interval(days => n % 300 - k), '', 'CNY', 'active', 'M1', 1, 1"
    " from generate_series(1, 20000) n, generate_series(1, 6) k"),
    "analyze scheduler.cases", "analyze scheduler.timeline", "analyze scheduler.debt_facts",
)  # fmt: skip
"""20,000 spells that began on 300 days."""


@pytest.fixture
async def full(engine: AsyncEngine) -> AsyncEngine:
    async with engine.begin() as conn:
        for statement in FULL:
            await conn.execute(text(statement.replace("::text", "\\:\\:text")), {"at": MORNING} if ":at" in statement else {})
    return engine


@pytest.mark.parametrize("statement", [reports.FUNNEL, reports.CURES, reports.PROMISES, reports.FEEDBACK])
async def test_a_report_on_contacts_reads_the_days_asked_for_and_the_cases_concerned(full: AsyncEngine, statement: TextClause) -> None:
    values = {
        "tenant": "default", "begin": MORNING - timedelta(days=1), "end": MORNING, "within": timedelta(days=1), "zone": "UTC",
        "bands": ["a"], "days": [1],
    }  # fmt: skip
    async with full.connect() as conn:
        plan = await conn.execute(text(f"explain {statement.text}"), {name: values[name] for name in statement.compile().params})
        lines = [row[0] for row in plan]
    read = [line for line in lines if "Scan" in line and any(f" on {table}" in line for table in ("cases", "timeline", "debt_facts"))]
    assert any("timeline_reported" in line for line in read)
    assert [line for line in read if "Seq Scan" in line] == []


async def test_roll_rates_of_a_whole_book_are_told_by_an_index_alone(full: AsyncEngine) -> None:
    async with full.execution_options(isolation_level="AUTOCOMMIT").connect() as conn:
        await conn.execute(text("vacuum scheduler.debt_facts"))
        ends = [MORNING - timedelta(days=n) for n in (30, 1, 0)]
        values = {"tenant": "default", "ends": ends, "end": ends[-1]}
        plan = [row[0] for row in await conn.execute(text(f"explain (analyze, timing off, summary off) {reports.ROLLS.text}"), values)]
    read = [line.strip() for line in plan if "Scan" in line and " on debt_facts" in line]
    fetched = [line.strip() for line in plan if "Heap Fetches" in line]
    assert len(read) == 1
    assert all("Index Only Scan" in line for line in read)
    assert set(fetched) == {"Heap Fetches: 0"}


async def test_no_report_reads_a_fact_itself(world: World) -> None:
    await world.tell(late("L1", "B1", total=100), late("L2", "B2", total=300))
    await world.settle()
    for task in world.of("contact.requested"):
        await world.outcome(task, "sent", 1, channel="sms")
    await world.local(1, 9)
    await world.tell(late("L1", "B1", total=40, version=2), paid("L2", "B2"))
    await world.local(4, 9)
    asked = [("roll-rates", {}), ("funnel", {"within_days": 2}), ("cure-rates", {}), ("promises", {}), ("experiments", {})]
    before = [await report(world, name, 0, 3, **more) for name, more in asked]
    assert [len(one) for one in before] == [5, 1, 2, 0, 0]
    async with world.engine.begin() as conn:
        await conn.execute(text("update scheduler.debt_facts set fact = ''"))
    assert [await report(world, name, 0, 3, **more) for name, more in asked] == before


async def test_a_report_that_names_no_zone_is_of_the_days_of_the_tenants_own(world: World) -> None:
    days = {"from": day(-3), "to": day(-2)}
    assert (await world.get("/reports/promises", **days))["timezone"] == "UTC"
    for version, zone, status in (("0", ZONE, 200), ("1", "Mars/Olympus", 422)):
        answer = await world.http.put("/v1/settings", json={"default_zone": zone}, headers={"If-Match": f'"{version}"'})
        assert answer.status_code == status, answer.text
    assert (await world.get("/reports/promises", **days))["timezone"] == ZONE
    assert (await world.get("/reports/promises", **days, timezone="America/Bogota"))["timezone"] == "America/Bogota"
