"""Policies with `consolidate: loan`: a case for each loan, alongside cases that hold all debts of a borrower."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import text

from tests.integration.scheduler.desk import day, post
from tests.integration.scheduler.policy_world import DOCUMENT, LOANWISE, Office, loanwise
from tests.integration.scheduler.world import ZONE, World, due_soon, late, paid
from tests.support.running import until

REMINDING = '  - {id: soon, at: {day: -3, between: "10:00-11:30"}, send: {template: due_soon, channels: [push]}}\n'


def asked(world: World) -> list[tuple[str, list[str]]]:
    """Step and loans of every requested contact."""
    return [(task.step, [debt.loan_id for debt in task.debts]) for task in world.of("contact.requested")]


async def cases(world: World, borrower_id: str = "B1") -> dict[str | None, Any]:
    """The borrower's cases by their loan; None is the borrower's own."""
    items = (await world.get("/cases", borrower_id=borrower_id))["items"]
    found = {item["loan_id"]: item for item in items}
    assert len(found) == len(items)
    return found


async def test_each_late_loan_has_a_case_and_a_message_of_its_own_and_paying_one_leaves_the_other(world: World) -> None:
    await loanwise(world)
    await world.tell(late("L1"), late("L2"))
    await world.settle()
    assert sorted(asked(world)) == [("hello", ["L1"]), ("hello", ["L2"])]
    assert len({task.task_id for task in world.of("contact.requested")}) == 2
    for task in world.of("contact.requested"):
        await world.outcome(task, "sent", 1)
    await world.tell(paid("L1"))
    await world.settle()
    found = await cases(world)
    assert {loan: (one["state"], one["consolidate"]) for loan, one in found.items()} == {"L1": ("cured", "loan"), "L2": ("open", "loan")}
    assert [event.case_id for event in world.of("case.cured")] == [found["L1"]["case_id"]]
    await world.local(6, 10, 30)
    assert asked(world)[2:] == [("firm", ["L2"])]
    assert [debt["loan_id"] for debt in (await world.get(f"/cases/{found['L2']['case_id']}"))["debts"]] == ["L2"]
    assert [item["case_id"] for item in (await world.get("/cases", loan_id="L2"))["items"]] == [found["L2"]["case_id"]]


async def test_loans_of_some_products_have_cases_of_their_own_and_the_others_are_together(world: World) -> None:
    office = Office(world)
    await office.activated(LOANWISE.replace("gentle-ones", "car-loans"))
    await office.assign({"policy": "car-loans", "products": ["car-loan"]})
    await world.tell(late("L1"), late("L2"), late("L3", product="car-loan"), late("L4", product="car-loan"))
    await world.settle()
    assert sorted(asked(world)) == [("gentle", ["L1", "L2"]), ("hello", ["L3"]), ("hello", ["L4"])]
    assert set(await cases(world)) == {None, "L3", "L4"}
    assert (await world.get("/coverage"))["reasons"] == {"scheduled": 3}


async def test_reminders_of_loans_with_cases_of_their_own_are_said_one_by_one(world: World) -> None:
    await loanwise(world, LOANWISE.replace("steps:\n", f"steps:\n{REMINDING}"))
    await world.tell(due_soon("L1"), due_soon("L2"))
    await world.settle()
    assert sorted(asked(world)) == [("soon", ["L1"]), ("soon", ["L2"])]


async def test_a_policy_that_begins_to_part_loans_repeats_nothing_and_parts_them_in_the_next_spell(world: World) -> None:
    office = await loanwise(world, DOCUMENT)
    await world.tell(late("L1"), late("L2"))
    await world.settle()
    await world.outcome(world.of("contact.requested")[0], "sent", 1)
    await office.activated(LOANWISE, in_flight="next_step")
    await world.local(1, 10, 30)
    assert asked(world) == [("hello", ["L1", "L2"])]
    assert {loan: one["policy"]["version"] for loan, one in (await cases(world)).items()} == {None: 2}
    await world.local(6, 10, 30)
    assert asked(world)[1:] == [("firm", ["L1", "L2"])]
    await world.outcome(world.of("contact.requested")[1], "sent", 1)
    await world.tell(paid("L1", status="active"), paid("L2", status="active"))
    await world.settle()
    await world.local(14, 10, 0)
    await world.tell(late("L1", version=3, days=-13), late("L2", version=3, days=-13))
    await world.local(14, 10, 15)
    assert sorted(asked(world)[2:]) == [("hello", ["L1"]), ("hello", ["L2"])]
    assert {loan: one["state"] for loan, one in (await cases(world)).items()} == {None: "closed", "L1": "open", "L2": "open"}


async def test_a_policy_that_ends_to_part_loans_repeats_nothing_and_joins_them_in_the_next_spell(world: World) -> None:
    office = await loanwise(world)
    await world.tell(late("L1"), late("L2"))
    await world.settle()
    for task in world.of("contact.requested"):
        await world.outcome(task, "sent", 1)
    await office.activated(DOCUMENT, in_flight="restart")
    await world.local(6, 10, 30)
    assert sorted(asked(world)[2:]) == [("firm", ["L1"]), ("firm", ["L2"])]
    await world.tell(paid("L1", status="active"), late("L3", days=-5))
    await world.settle()
    assert asked(world)[4:] == [("hello", ["L3"])]
    assert set(await cases(world)) == {None, "L1", "L2"}
    await world.local(14, 10, 0)
    await world.tell(late("L1", version=3, days=-13))
    await world.local(14, 10, 15)
    assert [debt["loan_id"] for debt in (await world.get(f"/cases/{(await cases(world))[None]['case_id']}"))["debts"]] == ["L1", "L3"]


async def test_a_late_loan_whose_case_is_gone_is_seen_by_coverage(world: World) -> None:
    await loanwise(world)
    await world.tell(late("L1"), late("L2"))
    await world.settle()
    assert (await world.get("/coverage"))["uncontacted"] == 0
    gone = (await cases(world))["L2"]["case_id"]
    async with world.engine.begin() as conn:
        await conn.exec_driver_sql("delete from scheduler.cases where loan_id = 'L2'")
    [item] = (await world.get("/coverage"))["items"]
    assert (item["case_id"], item["reason"]) == (gone, "no_case")


async def test_forgotten_loans_of_one_borrower_are_listed_page_by_page(world: World) -> None:
    await loanwise(world)
    await world.tell(*(late(f"L{n}") for n in range(3)))
    await world.settle()
    async with world.engine.begin() as conn:
        await conn.exec_driver_sql("delete from scheduler.cases")
    seen: list[str] = []
    cursor = None
    while True:
        page = await world.get("/coverage", limit=1, **({"cursor": cursor} if cursor else {}))
        assert page["uncontacted"] == 3
        seen += [item["case_id"] for item in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert len(set(seen)) == len(seen) == 3


async def test_a_case_that_has_reminded_of_a_due_date_keeps_it_until_the_money_is_late(world: World) -> None:
    office = await loanwise(world, DOCUMENT.replace("steps:\n", f"steps:\n{REMINDING}"))
    await world.tell(due_soon("L1"), due_soon("L2", in_days=6))
    await world.settle()
    await world.outcome(world.of("contact.requested")[0], "sent", 1)
    await office.activated(LOANWISE.replace("steps:\n", f"steps:\n{REMINDING}"))
    await world.scheduler.pump()
    await world.tell(due_soon("L1", version=2), due_soon("L2", in_days=6, version=2))
    await world.settle()
    await world.local(1, 10, 30)
    assert asked(world) == [("soon", ["L1"])]
    await world.local(4, 10, 0)
    await world.tell(late("L1", version=3, days=-3))
    await world.local(4, 10, 15)
    assert asked(world)[1:] == [("soon", ["L2"]), ("hello", ["L1"])]
    [moved] = [
        entry["detail"]
        for entry in (await world.get(f"/cases/{(await cases(world))[None]['case_id']}/timeline"))["items"]
        if entry["kind"] == "case.debt_moved"
    ]
    found = await cases(world)
    assert (moved["loan_id"], moved["from"], moved["to"]) == ("L1", found[None]["case_id"], found["L1"]["case_id"])


async def test_what_is_about_a_debt_rests_one_loan_and_what_is_about_the_person_all_of_them(world: World) -> None:
    await loanwise(world)
    await world.tell(late("L1", received=0), late("L2", received=0), late("L3", received=0))
    await world.settle()
    for task in world.of("contact.requested"):
        await world.outcome(task, "sent", 1)
    of = {loan: one["case_id"] for loan, one in (await cases(world)).items()}
    held = await post(world, f"/cases/{of['L1']}/holds", {"stop": "dispute", "end": {"person": True}})
    assert (held["scope"], held["loan_id"], held["contacts"]) == ("debt", "L1", "none")
    await post(world, f"/cases/{of['L2']}/promises", {"amount": 12050, "due_on": day(3)})
    await world.settle()
    assert {loan: one["reason"] for loan, one in (await cases(world)).items()} == {"L1": "dispute", "L2": "promise", "L3": "scheduled"}
    person = await post(world, f"/cases/{of['L3']}/holds", {"stop": "hardship", "end": {"person": True}})
    assert (person["scope"], person["loan_id"]) == ("person", None)
    await world.settle()
    assert {one["reason"] for one in (await cases(world)).values()} == {"hardship"}
    assert (await world.get("/coverage"))["uncontacted"] == 0


async def test_what_ends_a_hold_of_the_person_in_one_case_lets_the_others_go_on_too(world: World) -> None:
    await loanwise(world)
    await world.tell(late("L1"), late("L2"))
    await world.settle()
    said = {task.debts[0].loan_id: task for task in world.of("contact.requested")}
    for task in said.values():
        await world.outcome(task, "sent", 1)
    of = {loan: one["case_id"] for loan, one in (await cases(world)).items()}
    for event in ("contact.replied", "debt.cured"):
        await post(world, f"/cases/{of['L1']}/holds", {"stop": "manual", "end": {"event": event}})
        await world.settle()
        assert (await cases(world))["L2"]["reason"] == "manual"
        await (world.outcome(said["L2"], "replied", 3) if event == "contact.replied" else world.tell(paid("L1")))
        await world.settle()
        assert (await cases(world))["L2"]["reason"] == "scheduled"


async def test_of_two_who_wait_for_each_other_s_cases_the_one_that_is_ended_tries_again(world: World) -> None:
    await loanwise(world)
    await world.tell(late("L1"), late("L2"))
    await world.settle()
    said = {task.debts[0].loan_id: task for task in world.of("contact.requested")}
    of = {loan: one["case_id"] for loan, one in (await cases(world)).items()}
    for task in said.values():
        await world.outcome(task, "sent", 1)
    await post(world, f"/cases/{of['L1']}/holds", {"stop": "manual", "end": {"event": "contact.replied"}})
    await world.settle()
    lock = text("select 1 from scheduler.cases where case_id = :case for update")

    async def waits() -> bool:
        return bool(
            await world.rows("select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like 'update scheduler.cases%'")
        )

    async with world.engine.connect() as other, asyncio.TaskGroup() as tasks:
        await other.execute(text("set local deadlock_timeout = '30s'"))  # the other one looks first, and is ended
        await other.execute(lock, {"case": of["L2"]})
        replying = tasks.create_task(world.outcome(said["L1"], "replied", 2))
        await until(waits, "the reply that waits for the other case", look_every_s=0.005)
        await other.execute(lock, {"case": of["L1"]})
        assert not replying.done()
        await other.rollback()
    await world.settle()
    assert {loan: one["reason"] for loan, one in (await cases(world)).items()} == {"L1": "scheduled", "L2": "scheduled"}
    assert [event.reason for event in world.of("case.released")] == ["contact.replied"]
    replies = await world.rows("select 1 from scheduler.timeline where kind = 'contact.replied'")
    assert len(replies) == 1


async def test_holds_of_many_cases_with_a_stop_of_debts_are_each_of_the_case_s_loan(world: World) -> None:
    await loanwise(world)
    await world.tell(late("L1"), late("L2", product="other"))
    await world.settle()
    asked_for = {"filter": {"products": ["cash-loan"]}, "hold": {"stop": "dispute", "end": {"person": True}}, "confirm": 1}
    await post(world, "/holds", asked_for, status=202)
    await world.scheduler.pump()
    assert {loan: one["reason"] for loan, one in (await cases(world)).items()} == {"L1": "dispute", "L2": "scheduled"}
    assert [(held.loan_id, held.contacts) for held in world.of("case.hold_set")] == [("L1", "none")]


async def test_an_event_of_a_loan_s_case_names_the_loan(world: World) -> None:
    await loanwise(world)
    await world.tell(late("L1"))
    await world.settle()
    assert [event.loan_id for event in world.of("case.opened")] == ["L1"]


async def test_a_payment_counts_as_a_promise_s_only_in_the_case_of_its_loan(world: World) -> None:
    await loanwise(world)
    await world.tell(late("L1", received=0), late("L2", received=0))
    await world.settle()
    of = {loan: one["case_id"] for loan, one in (await cases(world)).items()}
    for loan in ("L1", "L2"):
        await post(world, f"/cases/{of[loan]}/promises", {"amount": 12050, "due_on": day(3)})
    await world.tell(paid("L1", received=12050))
    await world.settle()
    assert [event.case_id for event in world.of("case.promise_kept")] == [of["L1"]]
    await world.local(7, 12)
    assert [event.case_id for event in world.of("case.promise_broken")] == [of["L2"]]


async def test_a_report_takes_the_age_of_a_loan_s_case_from_its_loan_alone(world: World) -> None:
    await loanwise(world)
    await world.tell(late("L1", days=40), late("L2", days=2))
    await world.settle()
    for task in world.of("contact.requested"):
        await world.outcome(task, "sent", 1, channel="sms")
    await world.local(1, 12)
    found = (await world.get("/reports/cure-rates", **{"from": day(0), "to": day(0), "timezone": ZONE}))["items"]
    opened = {item["days_late"]: item["reached"] for item in found if item["step"] is None}
    assert opened == {"1-7": 1, "31-60": 1}
