"""What becomes of a step, of a stopped borrower, and of work for people."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from libs.common import auth
from libs.common.cloudevents import Envelope
from libs.common.contracts.borrower_profiles import BorrowerErasure
from libs.common.contracts.catalogue import PROFILES
from tests.integration.scheduler.world import SETTLED, World, late, paid


async def asked(world: World) -> Any:
    await world.tell(late())
    await world.settle()
    return world.of("contact.requested")[0]


async def test_what_was_sent_stands_in_the_story_with_the_moment_of_the_provider(world: World) -> None:
    task = await asked(world)
    world.clock.advance(timedelta(seconds=5))
    await world.outcome(task, "sent", 1, channel="sms", provider="sandbox")
    entry = (await world.story())[-1]
    assert (entry["kind"], entry["detail"]["channel"], entry["detail"]["task_id"]) == ("contact.sent", "sms", task.task_id)
    moments = [entry["at"] for entry in await world.story()]
    assert moments == sorted(moments)


async def test_an_outcome_that_comes_again_or_late_changes_nothing(world: World) -> None:
    task = await asked(world)
    await world.outcome(task, "sent", 2, channel="sms")
    await world.outcome(task, "sent", 2, channel="sms")
    await world.outcome(task, "expired", 1)
    assert [entry["kind"] for entry in await world.story()].count("contact.sent") == 1
    assert [tuple(row) for row in await world.rows("select state, sequence from scheduler.case_steps")] == [("done", 2)]


async def test_an_expired_contact_is_due_again_the_next_day(world: World) -> None:
    task = await asked(world)
    await world.local(0, 11, 31)
    await world.outcome(task, "expired", 1)
    await world.scheduler.pump()
    assert (await world.next_contact())["at"] == "2026-11-25T02:00:00Z"
    await world.local(1, 10)
    first, second = world.of("contact.requested")
    assert (second.step, second.task_id != first.task_id) == ("gentle", True)


async def test_an_expired_contact_is_not_repeated_once_a_later_step_is_the_latest(world: World) -> None:
    task = await asked(world)
    await world.outcome(task, "expired", 1)
    await world.local(2, 10)
    assert [task.step for task in world.of("contact.requested")] == ["gentle", "firm"]


async def test_a_deferred_contact_shows_its_new_moment(world: World) -> None:
    task = await asked(world)
    until = world.clock.now() + timedelta(minutes=10)
    await world.outcome(task, "deferred", 1, until=until)
    planned = await world.next_contact()
    assert (planned["reason"], planned["step"], planned["at"]) == ("deferred", "gentle", until.isoformat().replace("+00:00", "Z"))


async def test_a_contact_without_any_channel_left_becomes_work_for_a_person(world: World) -> None:
    task = await asked(world)
    await world.outcome(task, "failed", 1, reason="no_address")
    await world.scheduler.pump()
    (item,) = (await world.get("/tasks", queue="review", state="open"))["items"]
    assert (item["kind"], item["case_id"]) == ("contact_failed", task.case_id)
    assert len(world.of("contact.requested")) == 1
    assert (await world.get("/coverage"))["uncontacted"] == 0


async def test_a_contact_suppressed_because_it_was_paid_needs_nobody(world: World) -> None:
    task = await asked(world)
    await world.outcome(task, "suppressed", 1, reason="paid")
    await world.scheduler.pump()
    assert (await world.get("/tasks"))["items"] == []


async def test_a_contact_suppressed_for_another_reason_becomes_work_for_a_person(world: World) -> None:
    task = await asked(world)
    await world.outcome(task, "suppressed", 1, channel="push", reason="opted_out")
    await world.scheduler.pump()
    assert [item["about"] for item in (await world.get("/tasks"))["items"]] == ["contact:gentle:1"]


async def test_an_unknown_contact_is_not_asked_for_again(world: World) -> None:
    task = await asked(world)
    await world.outcome(task, "unknown", 1, channel="sms")
    await world.local(1, 10)
    assert len(world.of("contact.requested")) == 1
    await world.local(2, 10)
    assert [task.step for task in world.of("contact.requested")] == ["gentle", "firm"]


async def test_a_contact_that_stays_unknown_is_named_and_given_to_a_person_at_its_deadline_once(world: World) -> None:
    task = await asked(world)
    deadline = world.clock.now() + timedelta(days=1)
    await world.outcome(task, "unknown", 1, channel="sms", until=deadline)
    await world.scheduler.pump()
    coverage = await world.get("/coverage")
    assert (coverage["uncontacted"], coverage["reasons"]) == (0, {"contact_unknown": 1})
    planned = await world.next_contact()
    assert (planned["reason"], planned["step"]) == ("contact_unknown", "firm")
    assert (await world.get("/tasks"))["items"] == []
    await world.at(deadline)
    for _ in range(2):
        await world.outcome(task, "unknown", 2, channel="sms", final=True)
        await world.scheduler.pump()
    (item,) = (await world.get("/tasks"))["items"]
    assert (item["kind"], item["queue"], item["about"]) == ("contact_unknown", "review", "contact:gentle:1")
    assert ((await world.case())["reason"], (await world.case())["reason_ends_with"]) == ("contact_unknown", item["task_id"])
    assert [tuple(row) for row in await world.rows("select state from scheduler.case_steps")] == [("unresolved",)]
    await world.http.post(f"/v1/tasks/{item['task_id']}:complete", json={"note": "called"})
    await world.scheduler.pump()
    assert (await world.get("/coverage"))["reasons"] == {"scheduled": 1}
    assert len(world.of("contact.requested")) == 1


async def test_an_unknown_contact_that_nobody_closes_after_its_deadline_is_counted_and_never_as_accepted(world: World) -> None:
    task = await asked(world)
    await world.outcome(task, "unknown", 1, channel="sms", until=world.clock.now() + timedelta(days=1))
    await world.local(1, 10, 50)
    coverage = await world.get("/coverage")
    assert (coverage["uncontacted"], coverage["items"][0]["reason"]) == (1, "no_outcome")
    await world.outcome(task, "delivered", 2, channel="sms")
    await world.scheduler.pump()
    assert (await world.get("/coverage"))["uncontacted"] == 0


async def test_a_contact_of_which_nothing_is_heard_is_counted(world: World) -> None:
    await asked(world)
    assert (await world.get("/coverage"))["uncontacted"] == 0
    await world.local(0, 12, 5)
    coverage = await world.get("/coverage")
    assert (coverage["uncontacted"], coverage["items"][0]["reason"], coverage["items"][0]["borrower_id"]) == (1, "no_outcome", "B1")


async def test_the_dead_are_not_contacted_and_a_person_is_asked(world: World) -> None:
    await world.stop("deceased")
    await world.tell(late(), late("L2", "B2"))
    await world.settle()
    assert [task.borrower_id for task in world.of("contact.requested")] == ["B2"]
    planned = await world.next_contact()
    (item,) = (await world.get("/tasks"))["items"]
    assert (planned["at"], planned["reason"], planned["ends_with"]) == (None, "deceased", item["task_id"])
    assert (await world.get("/coverage"))["uncontacted"] == 0


async def test_a_stop_takes_back_what_was_asked_for_and_its_end_lets_the_ladder_go_on(world: World) -> None:
    task = await asked(world)
    start = world.clock.now()
    await world.stop("hardship", until=start + timedelta(days=2))
    await world.scheduler.pump()
    (cancelled,) = world.of("contact.cancelled")
    assert (cancelled.task_id, cancelled.reason) == (task.task_id, "hardship")
    kinds = [entry["kind"] for entry in await world.story()]
    assert kinds[-2:] == ["borrower.status", "contact.cancelled"]
    await world.local(1, 10)
    await world.local(2, 11)
    assert [task.step for task in world.of("contact.requested")] == ["gentle", "firm"]


async def test_an_older_value_of_a_stop_changes_nothing(world: World) -> None:
    now = world.clock.now()
    await world.stop("hardship", at=now, until=now)
    await world.stop("hardship", at=now - timedelta(hours=1))
    await asked(world)
    assert len(world.of("contact.requested")) == 1


async def test_a_task_is_claimed_and_completed_by_a_person(world: World) -> None:
    await world.tell(late(days=20))
    await world.settle()
    (item,) = (await world.get("/tasks"))["items"]
    claimed = await world.http.post(f"/v1/tasks/{item['task_id']}:claim")
    assert (claimed.status_code, claimed.json()["claimed_by"], claimed.json()["state"]) == (200, "mei", "claimed")
    done = await world.http.post(f"/v1/tasks/{item['task_id']}:complete", json={"note": "called"})
    assert (done.json()["state"], done.json()["note"]) == ("done", "called")
    await world.scheduler.pump()
    assert (await world.get("/coverage"))["uncontacted"] == 0
    world.clock.advance(timedelta(days=15))
    await world.scheduler.pump()
    assert len((await world.get("/tasks", state="open"))["items"]) == 1, "still owed, so a person looks again"
    assert (await world.http.post("/v1/tasks/nothing:claim")).status_code == 404


async def test_a_case_that_the_rules_cannot_digest_is_parked_alone(world: World) -> None:
    await world.tell(late(timezone="Mars/Olympus"), late("L2", "B2"))
    await world.settle()
    assert [task.borrower_id for task in world.of("contact.requested")] == ["B2"]
    case = await world.case("B1")
    assert (case["next_at"], case["reason"]) == (None, "in_doubt")
    assert [item["kind"] for item in (await world.get("/tasks"))["items"]] == ["in_doubt"]
    assert (await world.get("/coverage"))["uncontacted"] == 0
    await world.tell(late(version=2))
    await world.settle()
    assert {task.borrower_id for task in world.of("contact.requested")} == {"B1", "B2"}


async def test_what_nobody_knows_is_not_found_and_what_is_free_is_described(world: World) -> None:
    for path in ("/cases/nobody", "/cases/nobody/timeline", "/cases/nobody/next-contact", "/policies/built-in/versions/9"):
        answered = await world.http.get(f"/v1{path}")
        assert (answered.status_code, answered.json()["code"]) == (404, "not_found")
    policy = await world.get("/policies/built-in/versions/1")
    assert [step["id"] for step in policy["steps"]] == ["due-soon", "gentle", "firm", "final", "review"]
    openapi = (await world.http.get("/openapi.json")).json()
    assert openapi["openapi"].startswith("3.1")
    assert [path for path in openapi["paths"] if not path.startswith("/v1/")] == ["/b/{token}"]


async def test_cases_are_listed_page_by_page_and_by_loan(world: World) -> None:
    await world.tell(*(late(f"L{n}", f"B{n}") for n in range(5)))
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await world.get("/cases", limit=2, **cursor)
        seen += [item["borrower_id"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert sorted(seen) == [f"B{n}" for n in range(5)]
    assert [item["borrower_id"] for item in (await world.get("/cases", loan_id="L3"))["items"]] == ["B3"]
    assert (await world.get("/cases", state="cured"))["items"] == []


async def test_a_story_is_read_page_by_page(world: World) -> None:
    await asked(world)
    await world.tell(paid())
    world.clock.advance(SETTLED)
    case = await world.case()
    whole = await world.story()
    first = await world.get(f"/cases/{case['case_id']}/timeline", limit=2)
    rest = await world.get(f"/cases/{case['case_id']}/timeline", cursor=first["next"])
    assert first["items"] + rest["items"] == whole


async def test_an_erased_borrower_is_not_contacted(world: World) -> None:
    await world.stop("hardship", until=world.clock.now())
    erasure = BorrowerErasure(borrower_id="B1", time=world.clock.now(), id="e")
    await world.bus.publish([world.message("borrower.erased.v1", erasure, topic=PROFILES)])
    await world.tell(late())
    await world.settle()
    assert world.of("contact.requested") == []
    assert [tuple(row) for row in await world.rows("select kind from scheduler.statuses")] == [("erased",)]


async def test_a_stop_that_its_publisher_closes_stops_no_more(world: World) -> None:
    await world.stop("hardship")
    world.clock.advance(timedelta(seconds=1))
    envelope = Envelope("borrower.status.v1", "e2", "test", world.clock.now(), "default", "B1")
    await world.bus.publish([world.writer.message(PROFILES, envelope, None, key="default/B1/status:s1", borrower_id="B1")])
    await asked(world)
    assert len(world.of("contact.requested")) == 1


async def test_cases_are_another_tenants_secret(world: World) -> None:
    task = await asked(world)
    async with world.engine.begin() as conn:
        await auth.add_key(conn, "scheduler", "dw_other", auth.Principal("other", "eve", frozenset(auth.SCOPES)))
    headers = {"Authorization": "Bearer dw_other"}
    assert (await world.http.get("/v1/cases", headers=headers)).json()["items"] == []
    assert (await world.http.get(f"/v1/cases/{task.case_id}", headers=headers)).status_code == 404
    assert (await world.http.get("/v1/cases", headers={"Authorization": "Bearer nobody"})).status_code == 401
