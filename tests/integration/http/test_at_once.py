"""Many posts at the same time: they share publishes and transactions, and each is answered for itself."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import httpx

from libs.common import auth
from libs.common.auth import Principal
from libs.common.contracts.catalogue import BORROWER_EVENTS_TOPIC
from tests.integration.http.asking import ONE, assert_problem, send_one, state_of
from tests.support.running import Running, bearer
from tests.support.wallet import event, loan, repayment

AT_ONCE = 20


async def test_posts_at_once_are_each_taken_once_and_share_transactions(ingest: Running) -> None:
    loans = [loan(f"L{n}") for n in range(AT_ONCE)]
    await ingest.post(loan("first"))
    before = await _transactions(ingest)
    answers = await asyncio.gather(*[send_one(ingest, one) for one in loans])
    assert [(answer.status_code, answer.json()["accepted"]) for answer in answers] == [(202, 1)] * AT_ONCE
    assert await _transactions(ingest) - before <= 4
    for one in loans:
        assert (await state_of(ingest, one))["events"] == 1


async def test_of_posts_at_once_those_whose_topic_stands_still_are_asked_for_again_and_the_others_are_taken(ingest: Running) -> None:
    loans = [loan(f"L{n}") for n in range(AT_ONCE)]
    consents = [
        event("borrower.consent", borrower_id=f"B{n}", channel="sms", purpose="dunning", granted=True, at="2026-11-01T00:00:00Z")
        for n in range(AT_ONCE)
    ]
    await ingest.post(loan("first"))
    ingest.service.consumers[0].health.stopped_topics.add(BORROWER_EVENTS_TOPIC.name)
    pairs = zip(loans, consents, strict=True)
    answers = await asyncio.gather(*[send_one(ingest, one) for pair in pairs for one in pair])
    assert [answer.status_code for answer in answers] == [202, 503] * AT_ONCE
    for answer in answers[1::2]:
        assert_problem(answer, 503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
    for one in loans:
        assert (await state_of(ingest, one))["events"] == 1


async def test_events_of_one_loan_stand_in_the_order_of_their_answers(ingest: Running) -> None:
    """Each is posted when the one before it is answered, while others post as well; their ids would order them the other way round."""
    first = loan("L1", event_id="p9")
    paid = [repayment("L1", 100, -1, event_id=f"p{8 - n}") for n in range(9)]
    noise = [loan(f"N{n}") for n in range(60)]

    async def others() -> None:
        for at in range(0, len(noise), 10):
            await asyncio.gather(*[send_one(ingest, one) for one in noise[at : at + 10]])

    posting = asyncio.create_task(others())
    for one in (first, *paid):
        assert (await send_one(ingest, one)).status_code == 202
        ingest.clock.advance(timedelta(milliseconds=1))
    await posting
    stood = (await ingest.get("/v1/loans/L1/events"))["items"]
    assert [one["id"] for one in stood] == [one["id"] for one in (first, *paid)]


async def test_a_key_that_is_revoked_opens_nothing_after_a_few_seconds(ingest: Running) -> None:
    async with ingest.engine.begin() as conn:
        await auth.add_key(conn, "ingest", "leaked", Principal("default", None, frozenset(auth.SCOPES)))

    async def post() -> httpx.Response:
        return await ingest.client.post("/v1/events", content=json.dumps(loan("L1")).encode(), headers={**ONE, **bearer("leaked")})

    assert (await post()).status_code == 202
    async with ingest.engine.begin() as conn:
        await auth.remove_key(conn, "ingest", "leaked")
    ingest.clock.advance(timedelta(seconds=15))
    assert_problem(await post(), 401, "unauthenticated")


async def test_the_route_of_events_is_described_and_counted_like_every_other(ingest: Running) -> None:
    assert (await send_one(ingest, loan("L1"))).status_code == 202
    [described] = (await ingest.get("/openapi.json"))["paths"]["/v1/events"].values()
    assert (described["tags"], [status for status in described["responses"] if status < "300"]) == (["events"], ["202"])
    said = (await ingest.client.get("/metrics")).text
    assert 'dunwell_http_requests_total{code="202",method="POST",route="/v1/events"} 1.0' in said
    assert 'dunwell_http_request_duration_seconds_count{route="/v1/events"} 1.0' in said


async def _transactions(running: Running) -> int:
    """Return how many transactions have written to the log of events."""
    async with running.engine.connect() as conn:
        found = await conn.exec_driver_sql("select count(distinct xmin::text) from ingest.events")
        return int(found.scalar_one())
