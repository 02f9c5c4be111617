"""Contacts made by people: they count, and each result has its consequence."""

from __future__ import annotations

from typing import Any

import pytest

from libs.common.contracts.borrower_profiles import BorrowerErasure
from libs.common.contracts.catalogue import PROFILES
from tests.integration.scheduler.desk import case_of, day, post, promise, settled, tasks
from tests.integration.scheduler.policy_world import OTHER_KEY, Office
from tests.integration.scheduler.world import World, late

DECIDED = """\
policy: decided
steps:
  - {id: legal, at: {day: 3}, requires: [approval], task: {queue: legal, kind: letter}}
  - {id: offer, at: {day: 30}, offer: {kind: instalment_plan, max_months: 6}}
"""


async def call(world: World, result: str, *, status: int = 201, key: str | None = None, **other: Any) -> Any:
    return await post(
        world, f"/cases/{await case_of(world)}/contacts", {"channel": "call", "result": result, **other}, status=status, key=key
    )


@pytest.mark.parametrize(
    ("result", "counted"),
    [("right_party", "conversation"), ("conversation", "conversation"), ("no_answer", "no_answer"), ("bounced", "bounced"),
     ("refused_to_pay", "conversation"), ("wrong_number", "wrong_number")],
)  # fmt: skip
async def test_a_contact_is_told_to_whoever_counts(world: World, result: str, counted: str) -> None:
    await settled(world)
    made = await call(world, result, at="2026-11-24T02:10:00Z", loan_id="L1", note="by the branch", by="branch-7")
    await world.scheduler.pump()
    (told,) = world.of("contact.recorded")
    assert (told.contact_id, told.channel, told.result, told.loan_id, told.by) == (made["contact_id"], "call", counted, "L1", "branch-7")
    assert told.at.isoformat() == "2026-11-24T02:10:00+00:00"
    (line,) = [line for line in await world.story() if line["kind"] == "contact.recorded"]
    assert line["reason"] == result


async def test_a_promise_made_on_the_telephone_lets_contacts_rest(world: World) -> None:
    await settled(world)
    await call(world, "promise", promise={"amount": 12050, "due_on": day(3)}, reason="income_late")
    await world.scheduler.pump()
    assert [event.detail["channel"] for event in world.of("case.promise_made")] == ["call"]
    assert (await world.next_contact())["reason"] == "promise"
    (row,) = await world.rows("select nonpayment_reason from scheduler.cases")
    assert row.nonpayment_reason == "income_late"
    await call(world, "promise", status=422)
    await call(world, "busy", promise={"amount": 1, "due_on": day(3)}, status=422)


@pytest.mark.parametrize(
    ("result", "reason", "task"),
    [("complaint", "complaint", "complaint"), ("hardship", "hardship", "hardship"), ("dispute", "dispute", "dispute"),
     ("deceased", "deceased", "stop_without_end"), ("represented", "represented", "stop_without_end")],
)  # fmt: skip
async def test_what_a_person_hears_stops_contacts_and_gives_the_work_it_needs(world: World, result: str, reason: str, task: str) -> None:
    await settled(world)
    await call(world, result)
    await world.scheduler.pump()
    assert (await world.next_contact())["reason"] == reason
    assert [one["kind"] for one in await tasks(world)] == [task]


async def test_a_wrong_number_closes_what_a_number_reaches_until_a_person_has_looked(world: World) -> None:
    await settled(world)
    await call(world, "wrong_number")
    await world.scheduler.pump()
    closed = {(held.stop, held.channel, held.contacts) for held in world.of("case.hold_set")}
    assert closed == {("manual", channel, "none") for channel in ("call", "ai_voice", "voicemail", "sms")}
    assert [task.reason for task in world.of("contact.cancelled")] == []
    (task,) = await tasks(world)
    assert task["kind"] == "wrong_number"
    await post(world, f"/tasks/{task['task_id']}:complete", {"outcome": "upheld"}, status=200)
    await world.scheduler.pump()
    assert len(world.of("case.hold_ended")) == 4


async def test_a_contact_that_is_sent_again_is_recorded_once(world: World) -> None:
    await settled(world)
    first, again = [await call(world, "complaint", key="call-1") for _ in range(2)]
    await world.scheduler.pump()
    assert first == again
    assert (len(world.of("contact.recorded")), len(world.of("case.complaint_opened"))) == (1, 1)


async def test_a_contact_of_tomorrow_or_about_another_debt_is_refused(world: World) -> None:
    await settled(world)
    await call(world, "busy", at="2026-11-25T02:10:00Z", status=422)
    await call(world, "busy", at="2026-11-24T10:10:00", status=422)
    await call(world, "busy", loan_id="L9", status=422)
    await call(world, "shrugged", status=422)
    assert await world.rows("select 1 from scheduler.recorded_contacts") == []


async def test_a_note_stands_in_the_story_and_its_reason_in_the_case(world: World) -> None:
    case = await settled(world)
    await post(world, f"/cases/{case}/notes", {"text": "works nights", "reason": "job_lost"})
    kinds = {line["kind"]: line for line in await world.story()}
    assert kinds["case.note"]["detail"]["text"] == "works nights"
    assert (await world.case())["nonpayment_reason"] == "job_lost"
    await world.tell(late(version=2, total=9000))
    await world.settle()
    assert (await world.case())["nonpayment_reason"] == "job_lost"


async def test_an_erased_borrower_leaves_no_words_behind_and_what_was_done_stays(world: World) -> None:
    case = await settled(world)
    await call(world, "complaint", note="Mrs Li shouted")
    await post(world, f"/cases/{case}/notes", {"text": "lives with her sister"})
    await world.settle()
    (task,) = await tasks(world)
    await post(world, f"/tasks/{task['task_id']}:complete", {"note": "called Mrs Li back"}, status=200)
    await erase(world)
    await world.settle()
    everything = f"{await world.story()} {await tasks(world)} {await world.get(f'/cases/{case}/complaints')}"
    assert "Li" not in everything
    assert "sister" not in everything
    assert {"case.note", "task.completed", "contact.recorded"} <= {line["kind"] for line in await world.story()}
    assert await world.rows("select 1 from scheduler.recorded_contacts where note is not null") == []


async def test_why_people_decided_is_forgotten_with_an_erased_borrower_and_that_they_did_stays(world: World) -> None:
    office = Office(world)
    await office.activated(DECIDED)
    await office.assign({"policy": "decided"})
    case = await settled(world, late(days=3, received=0))
    why = {"reason": "Mrs Li begged"}
    await office.ask("POST", f"/cases/{case}/steps/legal:reject", json=why, key=OTHER_KEY)
    beyond = await post(world, f"/cases/{case}/plans", {"max_months": 60, **why})
    await office.ask("POST", f"/cases/{case}/offers/{beyond['offer_id']}:reject", json=why, key=OTHER_KEY)
    made = await post(world, f"/cases/{case}/plans", {"max_months": 6, **why})
    await post(world, f"/cases/{case}/offers/{made['offer_id']}:decline", why, status=200)
    pledged = await promise(world)
    await post(world, f"/cases/{case}/promises/{pledged['promise_id']}:cancel", why, status=200)
    for reason in ("Mrs%20Li%20begged", "ended_by_person"):
        held = await post(world, f"/cases/{case}/holds", {"stop": "manual", **why})
        await world.http.delete(f"/v1/cases/{case}/holds/{held['hold_id']}?reason={reason}")
    await post(world, "/holds", {"filter": {"borrower_ids": ["B1"]}, "hold": {"stop": "manual", **why}, "confirm": 1}, status=202)
    await world.settle()
    await erase(world)
    await world.settle()
    assert await words_left(world, "Li begged") == set()
    assert {"step.rejected", "offer.proposed", "offer.rejected", "case.offer_declined", "case.promise_cancelled", "case.released"} <= {
        line["kind"] for line in await world.story()
    }
    ends = {hold["end_reason"] for hold in (await world.get(f"/cases/{case}/holds"))["items"]}
    assert ends == {None, "promise_cancelled", "ended_by_person"}


async def words_left(world: World, words: str) -> set[str]:
    """The tables in whose rows these words stand; what is published stands a week in the feed."""
    tables = [row[0] for row in await world.rows("select table_name from information_schema.tables where table_schema = 'scheduler'")]
    kept = [name for name in tables if name not in {"outbox", "feed", "idempotency"}]
    hex_words = words.encode().hex()
    found = set()
    for name in kept:
        if await world.rows(f"select 1 from scheduler.{name} t where strpos(t::text, '{words}') + strpos(t::text, '{hex_words}') > 0"):
            found.add(name)
    return found


async def erase(world: World) -> None:
    erased = BorrowerErasure(borrower_id="B1", time=world.clock.now(), id="e-erased")
    await world.bus.publish([world.message("borrower.erased.v1", erased, topic=PROFILES)])
