"""Steps that wait for a notice, for people, or for the borrower, from the document to the events."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from libs.common import auth
from tests.integration.scheduler.policy_world import OTHER_KEY, Office
from tests.integration.scheduler.world import World, late, paid

HEAD = """\
policy: grave-ones
cure: {cool_down: 7d}
steps:
  - {id: hello, at: {day: 1, between: "10:00-11:30"}, send: {template: gentle, channels: [sms]}}
"""
BUREAU = (
    HEAD
    + """\
  - {id: notice, at: {day: 5, between: "10:00-11:30"}, send: {template: firm, channels: [sms], purpose: notice}}
  - {id: last, at: {day: 6, between: "10:00-11:30"}, send: {template: firm, channels: [sms]}}
  - {id: bureau, at: {day: 7}, after: {step: notice, days: 7}, emit: bureau_report}
"""
)
LEGAL = (
    HEAD
    + """\
  - {id: legal, at: {day: 3}, requires: [approval, evidence], evidence: [contract], task: {queue: legal, kind: letter}}
"""
)
AGENCY = (
    HEAD
    + """\
  - {id: agency, at: {day: 3}, hand_over: {to: agency}}
  - {id: later, at: {day: 4, between: "10:00-11:30"}, send: {template: firm, channels: [sms]}}
"""
)
OFFER = (
    HEAD
    + """\
  - {id: offer, at: {day: 3, between: "10:00-11:30"}, send: {template: firm, channels: [sms]},
     offer: {kind: instalment_plan, max_months: 6, waive_interest_percent: 20, valid_for: 4d}}
  - {id: more, at: {day: 4, between: "10:00-11:30"}, send: {template: firm, channels: [sms]}}
  - {id: agency, at: {day: 5}, hand_over: {to: agency}}
"""
)
SHA = "a" * 64


async def begun(world: World, document: str, *, days: int = 1) -> tuple[Office, str]:
    """A case under this policy, this many days overdue, and its path."""
    office = Office(world)
    await office.activated(document)
    await office.assign({"policy": "grave-ones"})
    await world.tell(late(days=days))
    await world.settle()
    return office, f"/cases/{(await world.case())['case_id']}"


def asked(world: World) -> list[str]:
    return [task.step for task in world.of("contact.requested")]


async def said(world: World, sequence: int = 1) -> None:
    await world.outcome(world.of("contact.requested")[-1], "sent", sequence, channel="sms")
    await world.settle()


async def step(world: World, path: str, name: str) -> Any:
    return next(one for one in (await world.get(f"{path}/steps"))["items"] if one["step"] == name)


def refused(answered: httpx.Response) -> tuple[int, str]:
    return answered.status_code, answered.json()["code"]


async def test_a_report_to_the_bureau_comes_so_many_days_after_its_notice_was_taken_over(world: World) -> None:
    _, path = await begun(world, BUREAU, days=20)
    assert asked(world) == ["notice"], "a notice is made up for before the latest message"
    await world.local(1, 10, 30)
    assert asked(world) == ["notice", "last"]
    await world.local(9, 10, 30)
    assert world.of("case.bureau_report") == [], "nobody has said that the notice went out"
    assert (await step(world, path, "bureau"))["state"] == "coming"
    await world.outcome(world.of("contact.requested")[0], "sent", 1, channel="sms")
    await world.settle()
    await world.local(16, 10, 29)
    assert world.of("case.bureau_report") == []
    await world.local(16, 10, 31)
    [event] = world.of("case.bureau_report")
    assert event.detail["step"] == "bureau"
    assert event.detail["loans"] == ["L1"]
    assert event.detail["after"]["task_id"] == world.of("contact.requested")[0].task_id
    await world.local(30, 10, 30)
    assert len(world.of("case.bureau_report")) == 1
    assert "case.bureau_report" in [entry["kind"] for entry in await world.story()]


async def test_a_notice_that_came_back_lets_nothing_follow(world: World) -> None:
    await begun(world, BUREAU, days=20)
    task = world.of("contact.requested")[0]
    await world.outcome(task, "sent", 1, channel="sms")
    await world.local(5, 10, 30)
    await world.outcome(task, "failed", 2, channel="sms")
    await world.local(30, 10, 30)
    assert world.of("case.bureau_report") == []


async def test_a_legal_step_waits_for_evidence_then_for_the_approval_of_another_person(world: World) -> None:
    office, path = await begun(world, LEGAL, days=3)
    await office.hire("dw_machine", None)
    [evidence] = (await world.get("/tasks", state="open"))["items"]
    assert (evidence["kind"], evidence["about"]) == ("evidence", "evidence:legal")
    assert refused(await office.ask("POST", f"{path}/steps/legal:approve", key=OTHER_KEY)) == (409, "evidence_missing")
    assert refused(await office.ask("POST", f"/tasks/{evidence['task_id']}:complete")) == (409, "decision_needed")
    attached = {"document": "contract", "reference": "archive/7", "sha256": SHA}
    assert (await office.ask("POST", f"{path}/evidence", json=attached)).status_code == 200
    await world.settle()
    [approval] = (await world.get("/tasks", state="open"))["items"]
    assert (approval["kind"], approval["about"]) == ("approval", "approval:legal")
    waiting = await step(world, path, "legal")
    assert (waiting["state"], waiting["wants"], waiting["task_id"]) == ("waits", "approval", approval["task_id"])
    assert world.of("case.legal_requested") == []
    assert (await world.get("/coverage"))["reasons"] == {"awaits_approval": 1}
    assert refused(await office.ask("POST", f"{path}/steps/legal:approve")) == (403, "own_work")
    assert refused(await office.ask("POST", f"{path}/steps/legal:approve", key="dw_machine")) == (403, "forbidden")
    assert refused(await office.ask("POST", f"/tasks/{approval['task_id']}:complete")) == (409, "decision_needed")
    for _ in range(2):
        assert (await office.ask("POST", f"{path}/steps/legal:approve", key=OTHER_KEY)).status_code == 200
    await world.settle()
    [event] = world.of("case.legal_requested")
    assert event.reason == "letter"
    assert [task["kind"] for task in (await world.get("/tasks", state="open"))["items"]] == ["letter"]
    kinds = [entry["kind"] for entry in await world.story()]
    assert [kind for kind in kinds if kind in {"evidence.attached", "step.approved", "case.legal_requested"}] == [
        "evidence.attached", "step.approved", "case.legal_requested",
    ]  # fmt: skip


async def test_a_rejected_step_is_not_done_in_this_spell_and_nobody_is_forgotten(world: World) -> None:
    office, path = await begun(world, LEGAL, days=3)
    rejected = await office.ask("POST", f"{path}/steps/legal:reject", key=OTHER_KEY, json={"reason": "too early"})
    assert rejected.status_code == 200
    assert refused(await office.ask("POST", f"{path}/steps/legal:approve", key=OTHER_KEY)) == (409, "decided")
    await world.settle()
    assert (await step(world, path, "legal"))["state"] == "rejected"
    await world.local(40, 10, 30)
    assert world.of("case.legal_requested") == []
    assert [task["kind"] for task in (await world.get("/tasks", state="open"))["items"]] == ["ladder_ended"]
    assert (await world.get("/coverage"))["uncontacted"] == 0


async def test_a_step_whose_day_has_not_come_cannot_be_approved(world: World) -> None:
    office, path = await begun(world, LEGAL)
    assert refused(await office.ask("POST", f"{path}/steps/legal:approve", key=OTHER_KEY)) == (409, "not_asked")
    assert refused(await office.ask("POST", f"{path}/steps/hello:approve", key=OTHER_KEY)) == (409, "not_asked")
    assert refused(await office.ask("POST", f"{path}/steps/nope:approve", key=OTHER_KEY)) == (404, "not_found")


async def test_after_a_hand_over_our_own_contacts_rest_until_the_case_is_taken_back(world: World) -> None:
    office, path = await begun(world, AGENCY, days=2)
    await world.local(1, 0, 30)
    [event] = world.of("case.handed_over")
    assert (event.reason, event.detail["loans"]) == ("agency", ["L1"])
    assert [cancel.reason for cancel in world.of("contact.cancelled")] == ["handed_over"]
    await world.local(5, 10, 30)
    assert asked(world) == ["hello"]
    assert (await world.get("/coverage"))["reasons"] == {"handed_over": 1}
    assert (await world.get("/coverage"))["uncontacted"] == 0
    await world.local(31, 10, 30)
    [review] = (await world.get("/tasks", state="open"))["items"]
    assert (review["queue"], review["kind"]) == ("agency", "handed_over")
    assert (await office.ask("POST", f"{path}:take_back", json={"reason": "agency has given up"})).status_code == 200
    assert refused(await office.ask("POST", f"{path}:take_back", json={"reason": "again"})) == (409, "not_handed_over")
    await world.local(32, 10, 30)
    assert asked(world) == ["hello", "later"]
    assert len(world.of("case.handed_over")) == 1
    assert world.of("case.taken_back")[0].detail["from"] == "agency"


async def test_a_debt_that_is_paid_to_the_agency_ends_the_spell_and_the_next_one_is_ours(world: World) -> None:
    await begun(world, AGENCY, days=4)
    await world.tell(paid())
    await world.settle()
    await world.local(10, 10, 0)
    await world.tell(late(version=3, days=-9))
    await world.local(10, 10, 15)
    assert asked(world) == ["hello"]


async def test_an_offer_goes_out_with_its_message_and_graver_steps_wait_until_it_lapses(world: World) -> None:
    _, path = await begun(world, OFFER, days=3)
    [event], [request] = world.of("case.offer_made"), world.of("contact.requested")
    assert (event.reason, event.detail["max_months"], event.detail["by"]) == ("instalment_plan", 6, "policy")
    assert request.variables["offer_id"] == event.detail["offer_id"]
    await said(world)
    await world.local(3, 10, 30)
    assert asked(world) == ["offer", "more"]
    assert world.of("case.handed_over") == []
    await world.local(4, 11, 0)
    assert len(world.of("case.handed_over")) == 1
    [offer] = (await world.get(f"{path}/offers"))["items"]
    assert offer["state"] == "expired"


async def test_after_an_acceptance_contacts_rest_for_the_books_and_then_a_person_looks(world: World) -> None:
    office, path = await begun(world, OFFER, days=3)
    offer = world.of("case.offer_made")[0].detail["offer_id"]
    beyond = await office.ask("POST", f"{path}/offers/{offer}:accept", json={"months": 7})
    assert refused(beyond) == (422, "beyond_offer")
    for _ in range(2):
        taken = await office.ask("POST", f"{path}/offers/{offer}:accept", json={"months": 6})
        assert (taken.status_code, taken.json()["state"], taken.json()["taken"]) == (200, "accepted", {"months": 6})
    assert refused(await office.ask("POST", f"{path}/offers/{offer}:decline")) == (409, "wrong_state")
    await world.settle()
    [event] = world.of("case.offer_accepted")
    assert event.detail["taken"] == {"months": 6}
    assert [cancel.reason for cancel in world.of("contact.cancelled")] == ["offer_accepted"]
    await world.local(2, 10, 30)
    assert asked(world) == ["offer"]
    assert (await world.get("/coverage"))["reasons"] == {"offer_accepted": 1}
    await world.local(3, 10, 30)
    assert "offer_not_booked" in [task["kind"] for task in (await world.get("/tasks", state="open"))["items"]]


async def test_an_offer_beyond_the_limits_needs_another_person(world: World) -> None:
    office, path = await begun(world, OFFER.replace("day: 3,", "day: 30,").replace("day: 4,", "day: 31,"))
    within = {"kind": "instalment_plan", "max_months": 6, "waive_interest_percent": 20}
    plan = {name: value for name, value in within.items() if name != "kind"}
    made = (await office.ask("POST", f"{path}/plans", json=plan)).json()
    assert (made["state"], made["terms"]["kind"], made["made_by"]) == ("open", "instalment_plan", "mei")
    assert (await world.get(f"{path}/plans"))["items"] == (await world.get(f"{path}/offers"))["items"]
    assert refused(await office.ask("POST", f"{path}/offers", json=within)) == (409, "offer_stands")
    await office.ask("POST", f"{path}/offers/{made['offer_id']}:decline")
    beyond = (await office.ask("POST", f"{path}/offers", json={**within, "max_months": 9, "valid_days": 5})).json()
    assert beyond["state"] == "proposed"
    await world.settle()
    [task] = [one for one in (await world.get("/tasks", state="open"))["items"] if one["kind"] == "approve_offer"]
    assert refused(await office.ask("POST", f"/tasks/{task['task_id']}:complete")) == (409, "decision_needed")
    where = f"{path}/offers/{beyond['offer_id']}"
    assert refused(await office.ask("POST", f"{where}:accept")) == (409, "wrong_state")
    assert refused(await office.ask("POST", f"{where}:approve")) == (403, "own_work")
    approved = (await office.ask("POST", f"{where}:approve", key=OTHER_KEY)).json()
    assert (approved["state"], approved["approved_by"]) == ("open", "ola")
    assert (await office.ask("POST", f"{where}:accept", json={"months": 9})).json()["state"] == "accepted"
    await world.settle()
    assert [event.detail["max_months"] for event in world.of("case.offer_made")] == [6, 9]
    assert [event.detail["offer_id"] for event in world.of("case.offer_declined")] == [made["offer_id"]]


@pytest.mark.parametrize(
    ("asked_for", "state", "stands"), [({}, "open", 4), ({"valid_days": 4}, "open", 4), ({"valid_days": 5}, "proposed", 5)]
)
async def test_an_offer_stands_no_longer_than_the_policy_lets_it_unless_another_person_approves(
    world: World, asked_for: dict[str, int], state: str, stands: int
) -> None:
    office, path = await begun(world, OFFER.replace("day: 3,", "day: 30,").replace("day: 4,", "day: 31,"))
    made = (await office.ask("POST", f"{path}/offers", json={"kind": "instalment_plan", "max_months": 6, **asked_for})).json()
    assert made["state"] == state
    assert datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["made_at"]) == timedelta(days=stands)


async def test_an_offer_beyond_every_limit_stands_two_weeks_unless_told(world: World) -> None:
    office, path = await begun(world, OFFER.replace("day: 3,", "day: 30,").replace("day: 4,", "day: 31,"))
    made = (await office.ask("POST", f"{path}/plans", json={"max_months": 9})).json()
    assert (made["state"], made["terms"]["valid_for"]) == ("proposed", "14d")


@pytest.mark.parametrize("scopes", [auth.SCOPES, ("cases:read", "cases:write")])
async def test_who_may_not_approve_is_refused(world: World, scopes: tuple[str, ...]) -> None:
    office, path = await begun(world, LEGAL, days=3)
    await office.hire("dw_clerk", "kim", scopes=frozenset(scopes) - {"cases:approve"})
    assert refused(await office.ask("POST", f"{path}/steps/legal:approve", key="dw_clerk")) == (403, "forbidden")


async def test_another_tenant_sees_and_changes_nothing(world: World) -> None:
    office, path = await begun(world, OFFER, days=3)
    await office.hire("dw_theirs", "eve", tenant="theirs")
    offer = world.of("case.offer_made")[0].detail["offer_id"]
    for method, place in (
        ("GET", f"{path}/steps"), ("GET", f"{path}/offers"), ("POST", f"{path}/offers/{offer}:accept"),
        ("POST", f"{path}/steps/offer:approve"),
    ):  # fmt: skip
        assert refused(await office.ask(method, place, key="dw_theirs")) == (404, "not_found")


async def test_a_proposal_that_has_lapsed_can_only_be_rejected_and_its_task_ends(world: World) -> None:
    office, path = await begun(world, OFFER.replace("day: 3,", "day: 30,").replace("day: 4,", "day: 31,"))
    beyond = {"kind": "partial_waiver", "waive_fees_percent": 90, "valid_days": 2}
    where = f"{path}/offers/{(await office.ask('POST', f'{path}/offers', json=beyond)).json()['offer_id']}"
    await world.local(3, 10, 30)
    assert refused(await office.ask("POST", f"{where}:approve", key=OTHER_KEY)) == (409, "expired")
    assert (await office.ask("POST", f"{where}:reject", key=OTHER_KEY, json={"reason": "too late"})).json()["state"] == "rejected"
    assert "approve_offer" not in [task["kind"] for task in (await world.get("/tasks", state="open"))["items"]]


async def test_after_an_acceptance_that_nobody_booked_a_person_can_offer_again(world: World) -> None:
    office, path = await begun(world, OFFER, days=3)
    offer = world.of("case.offer_made")[0].detail["offer_id"]
    await office.ask("POST", f"{path}/offers/{offer}:accept")
    again = {"kind": "instalment_plan", "max_months": 3}
    assert refused(await office.ask("POST", f"{path}/offers", json=again)) == (409, "offer_stands")
    await world.local(4, 10, 30)
    assert (await office.ask("POST", f"{path}/offers", json=again)).status_code == 201


async def test_a_task_that_asks_for_a_decision_can_be_put_away_once_its_spell_is_over(world: World) -> None:
    office, _ = await begun(world, LEGAL, days=3)
    [task] = (await world.get("/tasks", state="open"))["items"]
    assert refused(await office.ask("POST", f"/tasks/{task['task_id']}:complete")) == (409, "decision_needed")
    await world.tell(paid())
    await world.settle()
    assert (await office.ask("POST", f"/tasks/{task['task_id']}:complete")).status_code == 200
