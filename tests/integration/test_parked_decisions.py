"""What becomes of parked events: a decision by a person, or by the retraction of what they contradicted."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import httpx
import pytest

from libs.common import auth
from libs.common.auth import Principal
from libs.common.bus.ports import Message, partition_of
from libs.common.contracts.catalogue import BORROWER_EVENTS_TOPIC, FACTS, LOAN_EVENTS_TOPIC, PROFILES
from libs.common.contracts.overdue_facts import OverdueFact
from services.ingest.rebuilding import Rebuild
from tests.integration.http.asking import assert_problem
from tests.integration.ingest_decisions.books import Books
from tests.support.postgres import Databases
from tests.support.running import Heard, Running, bearer, running_ingest
from tests.support.wallet import NOON, Event, event, instalment, loan, repayment

Ingest = tuple[Running, Heard]


@pytest.fixture
async def ingest(databases: Databases) -> AsyncIterator[Ingest]:
    async with databases.fresh("ingest") as engine, running_ingest(engine, FACTS, PROFILES) as running:
        yield running


def corrected(paid: Event, amount: int, *, event_id: str | None = None) -> Event:
    """Return an event with the same business key and another amount, with its own id unless one is given."""
    return {**paid, "id": event_id or f"{paid['id']}-{amount}", "data": {**paid["data"], "amount": amount}}


def retraction(of: Event) -> Event:
    made = event("event.retracted", loan_id=of["data"]["loan_id"])
    return {**made, "data": {**made["data"], "event_id": of["id"]}}


async def decide(running: Running, parked_id: str, what: str, body: Any = None) -> httpx.Response:
    answer = await running.client.post(f"/v1/parked/{parked_id}:{what}", json=body)
    await running.service.pump()
    return answer


async def parked(running: Running, loan_id: str | None = None) -> list[Any]:
    found: list[Any] = (await running.get("/v1/parked", **({"loan_id": loan_id} if loan_id else {})))["items"]
    return found


async def in_conflict(running: Running, loan_id: str) -> tuple[Event, Event, str]:
    """Post a loan with two payments under one key; return them and the parked id of the second."""
    paid = repayment(loan_id, 1000)
    other = corrected(paid, 9000)
    await running.post(loan(loan_id), paid)
    await running.post(other)
    [one] = await parked(running, loan_id)
    return paid, other, one["id"]


def last_fact(heard: Heard, loan_id: str) -> OverdueFact:
    return [data for _, data in heard.messages if isinstance(data, OverdueFact) and data.loan_id == loan_id][-1]


async def assert_as_rebuilt(running: Running) -> None:
    """What is stored equals what the log gives, versions included."""
    rebuild = Rebuild(running.engine, Books(running.engine, running.clock).ledger, repair=False)
    async for step in rebuild.whole(("default",), asyncio.Event()):
        assert step.differences == ()


async def test_a_replacement_is_taken_in_and_ends_the_doubt(ingest: Ingest) -> None:
    running, heard = ingest
    _, _, parked_id = await in_conflict(running, "L1")
    running.clock.advance(timedelta(hours=1))
    right = repayment("L1", 2000)
    answer = await decide(running, parked_id, "replace", {"event": right, "reason": "the bank says so"})
    assert answer.status_code == 200
    said = answer.json()
    assert (said["id"], said["decision"], said["reason"], said["replaced_by"]) == (parked_id, "replaced", "the bank says so", right)
    state = await running.get("/v1/loans/L1")
    assert (state["overdue"]["total"], state["events"], state["version"], state["doubt"]) == (17000, 3, 5, None)
    fact = last_fact(heard, "L1")
    assert (fact.version, fact.doubt, fact.overdue.total, fact.caused_by) == (5, None, 17000, right["id"])
    assert [one["id"] for one in (await running.get("/v1/loans/L1/events"))["items"]][-1] == right["id"]
    assert (await running.get("/v1/loans/L1", known_at=NOON.isoformat()))["overdue"]["total"] == 19000
    assert await parked(running) == []
    await assert_as_rebuilt(running)


async def test_the_doubt_of_a_loan_ends_with_the_last_open_parked_event(ingest: Ingest) -> None:
    running, heard = ingest
    paid, _, first = await in_conflict(running, "L1")
    await running.post(corrected(paid, 7000))
    [second] = [one["id"] for one in await parked(running) if one["id"] != first]
    assert (await decide(running, first, "replace", {"event": repayment("L1", 1)})).status_code == 200
    doubt = last_fact(heard, "L1").doubt
    assert doubt is not None
    assert doubt.parked == (second,)
    assert (await decide(running, second, "discard", {"reason": "x"})).status_code == 200
    assert last_fact(heard, "L1").doubt is None


async def test_a_decision_is_made_once(ingest: Ingest) -> None:
    running, _ = ingest
    paid, _, parked_id = await in_conflict(running, "L1")
    body = {"event": repayment("L1", 2000)}
    assert (await decide(running, parked_id, "replace", body)).status_code == 200
    before = await running.get("/v1/loans/L1")
    for what, said in (("replace", body), ("replace", {"event": repayment("L1", 5)}), ("retry", None), ("discard", {"reason": "x"})):
        assert_problem(await decide(running, parked_id, what, said), 409, "already_decided")
    await running.post(corrected(paid, 9000))
    assert await running.get("/v1/loans/L1") == before
    assert_problem(await decide(running, "p-nobody", "retry"), 404, "not_found")


async def test_of_decisions_at_the_same_moment_one_is_made(ingest: Ingest) -> None:
    running, _ = ingest
    _, _, parked_id = await in_conflict(running, "L1")
    bodies = [("replace", {"event": repayment("L1", 100)}), ("discard", {"reason": "x"}), ("replace", {"event": repayment("L1", 200)})]
    answers = await asyncio.gather(*[decide(running, parked_id, what, body) for what, body in bodies])
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
    await assert_as_rebuilt(running)


async def test_a_retry_that_finds_the_same_conflict_changes_nothing(ingest: Ingest) -> None:
    running, _ = ingest
    _, _, parked_id = await in_conflict(running, "L1")
    before = await running.get("/v1/loans/L1"), await parked(running)
    for _ in range(2):
        said = assert_problem(await decide(running, parked_id, "retry"), 409, "parked_again")
        assert said["error"] == "conflict"
    assert (await running.get("/v1/loans/L1"), await parked(running)) == before


async def test_a_replacement_that_contradicts_as_well_changes_nothing(ingest: Ingest) -> None:
    running, _ = ingest
    paid, other, parked_id = await in_conflict(running, "L1")
    before = await running.get("/v1/loans/L1"), await parked(running)
    for wrong in (other, corrected(paid, 5), corrected(paid, 5, event_id=paid["id"])):
        said = assert_problem(await decide(running, parked_id, "replace", {"event": wrong}), 409, "parked_again")
        assert said["error"] == "conflict"
    assert (await running.get("/v1/loans/L1"), await parked(running)) == before


async def test_a_replacement_by_what_was_accepted_already_decides_for_that(ingest: Ingest) -> None:
    running, _ = ingest
    paid, _, parked_id = await in_conflict(running, "L1")
    assert (await decide(running, parked_id, "replace", {"event": paid})).status_code == 200
    state = await running.get("/v1/loans/L1")
    assert (state["overdue"]["total"], state["events"], state["doubt"]) == (19000, 2, None)
    await assert_as_rebuilt(running)


async def test_a_replacement_that_retracts_the_other_event_throws_the_parked_one_away(ingest: Ingest) -> None:
    running, _ = ingest
    paid, _, parked_id = await in_conflict(running, "L1")
    assert (await decide(running, parked_id, "replace", {"event": retraction(paid)})).status_code == 200
    state = await running.get("/v1/loans/L1")
    assert (state["overdue"]["total"], state["events"], state["doubt"]) == (20000, 3, None)
    await assert_as_rebuilt(running)


async def test_a_replacement_that_is_no_event_or_about_another_loan_is_refused(ingest: Ingest) -> None:
    running, _ = ingest
    _, _, parked_id = await in_conflict(running, "L1")
    before = await running.get("/v1/loans/L1"), await parked(running)
    good = repayment("L1", 2000)
    for wrong, code in (
        ({**good, "data": {**good["data"], "amount": -1}}, "malformed"),
        ({**good, "type": "wallet.repayment.dreamt.v1"}, "unknown_type"),
        ({}, "malformed"),
        (repayment("L2", 2000), "about_another"),
        (event("borrower.updated", borrower_id="L1", timezone="Asia/Taipei"), "about_another"),
        (
            event("contact.recorded", borrower_id="b", loan_id="L1", contact_id="c", channel="call", at=NOON.isoformat(), by="x"),
            "about_another",
        ),
    ):
        assert_problem(await decide(running, parked_id, "replace", {"event": wrong}), 422, code)
    for raw in (b"", b"{", b"[" * 100_000, b"\xff", b"{}", b"[]", json.dumps({"event": good, "reason": 7}).encode()):
        answer = await running.client.post(f"/v1/parked/{parked_id}:replace", content=raw, headers={"Content-Type": "application/json"})
        assert_problem(answer, answer.status_code, answer.json()["code"])
        assert answer.status_code in (400, 422)
    assert (await running.get("/v1/loans/L1"), await parked(running)) == before


async def test_only_who_has_the_scope_decides(ingest: Ingest) -> None:
    running, _ = ingest
    _, _, parked_id = await in_conflict(running, "L1")
    async with running.engine.begin() as conn:
        await auth.add_key(conn, "ingest", "without", Principal("default", None, frozenset(auth.SCOPES) - {"ops"}))
        await auth.add_key(conn, "ingest", "stranger", Principal("acme", None, frozenset(auth.SCOPES)))
    for what, body in (("retry", None), ("replace", {"event": repayment("L1", 1)})):
        path = f"/v1/parked/{parked_id}:{what}"
        assert_problem(await running.client.post(path, json=body, headers=bearer("without")), 403, "forbidden")
        assert_problem(await running.client.post(path, json=body, headers=bearer("stranger")), 404, "not_found")


async def test_what_could_not_be_folded_is_taken_by_a_retry_once_it_can_be(ingest: Ingest) -> None:
    running, heard = ingest
    most = 10**15
    huge = [instalment(n, n, principal=most, interest=most, fee=most, penalty=most) for n in range(1, 601)]
    first, second, third = (event("loan.rescheduled", loan_id="L1", version=v, schedule=huge, effect="from_date") for v in (2, 3, 4))
    await running.post(loan("L1", *huge), first, second, third)
    [one] = await parked(running, "L1")
    said = assert_problem(await decide(running, one["id"], "retry"), 409, "parked_again")
    assert said["error"] == "cannot_fold"
    await running.post(retraction(first))
    answer = await decide(running, one["id"], "retry")
    assert (answer.status_code, answer.json()["decision"]) == (200, "retried")
    state = await running.get("/v1/loans/L1")
    assert (state["events"], state["version"], state["doubt"]) == (5, 7, None)
    assert last_fact(heard, "L1").version == 7
    await assert_as_rebuilt(running)


async def test_what_came_with_its_attributes_in_headers_is_parked_whole(ingest: Ingest) -> None:
    """Otherwise it could only ever be discarded."""
    running, _ = ingest
    strange = event("repayment.dreamt", loan_id="L1", amount=1)
    names = ("id", "source", "type", "time")
    headers = tuple((f"ce_{name}", str(strange[name]).encode()) for name in names)
    messages = [
        Message(LOAN_EVENTS_TOPIC.name, partition_of("default", "L1", 4), b"L1", value, headers)
        for value in (json.dumps(strange["data"]).encode(), b"{")
    ]
    await running.bus.publish(messages)
    await running.service.pump()
    whole, broken = sorted(await parked(running), key=lambda one: str(one["error"]), reverse=True)
    assert (whole["error"], broken["error"]) == ("unknown_type", "not_json")
    assert whole["event"] == {**{name: strange[name] for name in names}, "data": strange["data"]}
    assert broken["event"] == {**{name: strange[name] for name in names}, "data_base64": "ew=="}
    said = assert_problem(await decide(running, whole["id"], "retry"), 409, "parked_again")
    assert said["error"] == "unknown_type"
    assert (await decide(running, broken["id"], "replace", {"event": loan("L9")})).status_code == 200
    assert (await running.get("/v1/loans/L9"))["version"] == 1


def about_borrower(raw: object) -> Message:
    return Message(BORROWER_EVENTS_TOPIC.name, partition_of("default", "B1", 4), b"B1", json.dumps(raw).encode(), ())


async def test_what_is_sealed_cannot_be_retried_and_can_be_replaced(ingest: Ingest) -> None:
    running, heard = ingest
    named = event("borrower.updated", borrower_id="B1", name="Li Wei", timezone="Asia/Taipei")
    await running.post(named)
    await running.bus.publish(
        [
            about_borrower({**named, "id": "bad", "data": {**named["data"], "timezone": "Nowhere"}}),
            about_borrower({**named, "data": {**named["data"], "name": "Li Wen"}}),
        ]
    )
    await running.service.pump()
    letter, conflict = sorted(await parked(running), key=lambda one: str(one["error"]), reverse=True)
    assert (letter["error"], conflict["error"]) == ("malformed", "conflict")
    for one in (letter, conflict):
        said = assert_problem(await decide(running, one["id"], "retry"), 409, "sealed")
        assert "replace" in said["detail"]
        other = event("borrower.updated", borrower_id="B2", name="Li Wen")
        assert_problem(await decide(running, one["id"], "replace", {"event": other}), 422, "about_another")
        assert_problem(await decide(running, one["id"], "replace", {"event": loan("B1")}), 422, "about_another")
    assert [one.until for one in heard.of("borrower.status.v1")] == [None, None]
    for n, (one, locale) in enumerate([(letter, "zh-CN"), (conflict, "zh-TW")], start=1):
        right = event("borrower.updated", recorded=NOON + timedelta(hours=n), borrower_id="B1", name="Li Wen", locale=locale)
        assert (await decide(running, one["id"], "replace", {"event": right})).status_code == 200
        assert heard.of("borrower.profile.v1")[-1].locale == locale
    ended = {one.status_id for one in heard.of("borrower.status.v1") if one.until is not None}
    assert ended == {letter["id"], conflict["id"]}
    assert await parked(running) == []


async def test_a_retry_about_a_borrower_that_contradicts_still_changes_nothing(ingest: Ingest) -> None:
    running, heard = ingest
    said = event("borrower.consent", borrower_id="B1", channel="sms", purpose="dunning", granted=True, at=NOON.isoformat())
    await running.post(said)
    await running.post({**said, "data": {**said["data"], "granted": False}})
    [one] = await parked(running)
    assert_problem(await decide(running, one["id"], "retry"), 409, "parked_again")
    assert [one["id"]] == [still["id"] for still in await parked(running)]
    assert [state.until for state in heard.of("borrower.status.v1")] == [None]


def as_if(state: Any, *but: str) -> Any:
    """Return the parts of a state that money and contacts depend on, without the names of the events behind them."""
    shown = {name: value for name, value in state.items() if name not in ("loan_id", "borrower_id", "version", "events", *but)}
    return json.loads(json.dumps(shown).replace(state["loan_id"], "L"))


def of_one_loan(loan_id: str, *amounts: int) -> tuple[Event, Event, list[Event]]:
    """Return a loan, a payment to be retracted, and one payment per amount under the same key."""
    wrong = event("repayment.received", event_id="wrong", loan_id=loan_id, repayment_id="r", amount=1000, paid_at=NOON.isoformat())
    return loan(loan_id), wrong, [corrected(wrong, amount, event_id=f"right-{n}") for n, amount in enumerate(amounts)]


STORIES = {
    "another amount": (5000,),
    "the same amount": (1000,),
    "the same id": (),
    "several that say the same": (5000, 5000),
}
MOST_ORDERS = 24


@pytest.mark.parametrize("story", STORIES)
async def test_a_retracted_event_is_as_if_it_had_never_been_sent_in_whatever_order_they_come(ingest: Ingest, story: str) -> None:
    running, _ = ingest
    amounts = STORIES[story]
    made, _, right = of_one_loan("never", *amounts)
    await running.post(made, *right)
    expected = as_if(await running.get("/v1/loans/never"))
    orders = list(itertools.permutations(range(4 if story == "the same id" else 3 + len(amounts))))
    for n, order in enumerate(orders[:: max(1, len(orders) // MOST_ORDERS)]):
        for together in (True, False):
            name = f"L{n}-{together}"
            made, wrong, right = of_one_loan(name, *amounts)
            more = [corrected(wrong, 7000, event_id="wrong")] if story == "the same id" else right
            all_of_them = [made, wrong, retraction(wrong), *more]
            await post(running, [all_of_them[place] for place in order], together=together)
            assert as_if(await running.get(f"/v1/loans/{name}")) == expected, (order, together)
            assert await parked(running, name) == []
    await assert_as_rebuilt(running)


async def post(running: Running, events: Sequence[Event], *, together: bool) -> None:
    for some in [events] if together else [[one] for one in events]:
        await running.post(*some)


async def test_a_correction_that_was_parked_is_taken_by_itself_when_the_retraction_comes(ingest: Ingest) -> None:
    running, heard = ingest
    paid, _, _ = await in_conflict(running, "L1")
    running.clock.advance(timedelta(hours=1))
    await running.post(corrected(paid, 7000))
    retracted = retraction(paid)
    await running.post(retracted)
    state = await running.get("/v1/loans/L1")
    [still] = await parked(running)
    assert (still["event"]["data"]["amount"], state["doubt"]["parked"]) == (7000, [still["id"]])
    assert (state["overdue"]["total"], state["events"], state["version"]) == (11000, 4, 7)
    fact = last_fact(heard, "L1")
    assert (fact.version, fact.overdue.total, fact.caused_by) == (7, 11000, retracted["id"])
    assert (await running.get("/v1/loans/L1", known_at=NOON.isoformat()))["overdue"]["total"] == 19000
    await assert_as_rebuilt(running)


async def test_a_payment_that_was_sent_twice_is_paid_once_when_one_of_both_is_retracted(ingest: Ingest) -> None:
    running, _ = ingest
    for n, first in enumerate((True, False)):
        paid = repayment(f"L{n}", 1000)
        again = {**paid, "id": f"again-{n}"}
        await running.post(loan(f"L{n}"), paid)
        await running.post(again)
        await running.post(retraction(paid if first else again))
        assert (await running.get(f"/v1/loans/L{n}"))["overdue"]["total"] == 19000
    await assert_as_rebuilt(running)


async def test_what_is_parked_and_retracted_is_in_doubt_no_more(ingest: Ingest) -> None:
    running, heard = ingest
    _, other, _ = await in_conflict(running, "L1")
    await running.post(retraction(other))
    assert await parked(running) == []
    fact = last_fact(heard, "L1")
    assert (fact.doubt, fact.overdue.total) == (None, 19000)
    await assert_as_rebuilt(running)


async def test_after_a_retraction_is_itself_retracted_the_key_is_held_again(ingest: Ingest) -> None:
    running, _ = ingest
    paid = repayment("L1", 1000)
    back = retraction(paid)
    await running.post(loan("L1"), paid)
    await running.post(back)
    await running.post({**retraction(back), "time": (NOON + timedelta(hours=1)).isoformat()})
    assert (await running.get("/v1/loans/L1"))["overdue"]["total"] == 19000
    await running.post(corrected(paid, 5000))
    assert [one["error"] for one in await parked(running)] == ["conflict"]
    await running.post({**paid, "id": "again"})
    assert (await running.get("/v1/loans/L1"))["overdue"]["total"] == 19000


async def test_a_retraction_and_a_decision_in_two_open_transactions_both_end(ingest: Ingest) -> None:
    running, _ = ingest
    for n in range(8):
        paid, _, parked_id = await in_conflict(running, f"L{n}")
        decided, _ = await asyncio.gather(decide(running, parked_id, "discard", {"reason": "x"}), running.post(retraction(paid)))
        assert decided.status_code in (200, 409)
        assert (await running.get(f"/v1/loans/L{n}"))["overdue"]["total"] == (20000 if decided.status_code == 200 else 11000)
    await assert_as_rebuilt(running)
