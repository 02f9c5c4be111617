"""Webhooks: signed, in order, at least once, by one worker at a time, and given up with a reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.feed import store as feed
from libs.common.webhooks.delivering import LEASE, Deliverer
from libs.common.webhooks.retrying import LONGEST_PAUSE, OFF_AFTER
from tests.integration.outlets.wallets import OUTLETS, SECRET, Wallet, a_deliverer, a_wallet, a_webhook
from tests.support.postgres import Databases
from tests.support.running import Running, running_ingest, until
from tests.support.wallet import loan, repayment


@dataclass
class Stage:
    """Ingest, a wallet that listens to it, and the worker between them."""

    ingest: Running
    wallet: Wallet
    worker: Deliverer

    async def set(self, *webhooks: dict[str, Any], status: int = 200) -> Any:
        """Set the webhooks in the place of those before."""
        tag = (await self.ingest.client.get("/v1/settings")).headers["ETag"]
        body = {"webhooks": list(webhooks)}
        answer = await self.ingest.client.put("/v1/settings", json=body, headers={"If-Match": tag})
        assert answer.status_code == status, answer.text
        return answer.json()

    async def fed(self) -> list[str]:
        """Return the subjects of the feed in its order, which is that of the bus."""
        return [event["subject"] for event in (await self.ingest.get("/v1/feed/overdue-facts", limit=1000))["items"]]

    async def health(self) -> dict[str, Any]:
        [one] = (await self.ingest.get("/v1/settings"))["webhooks"]
        return dict(one)

    async def all_through(self) -> None:
        while await self.worker.pass_once():
            pass

    def let_pass(self, span: timedelta) -> None:
        self.ingest.clock.advance(span)

    def replica(self) -> Deliverer:
        return a_deliverer(self.ingest.engine, self.ingest.clock)


@pytest.fixture
async def engine(databases: Databases) -> AsyncIterator[AsyncEngine]:
    async with databases.fresh("ingest", pool_size=16) as made:
        yield made


@pytest.fixture
async def stage(engine: AsyncEngine) -> AsyncIterator[Stage]:
    async with running_ingest(engine, outlets=OUTLETS) as (running, _), a_wallet() as wallet:
        made = Stage(running, wallet, a_deliverer(engine, running.clock))
        yield made
        await made.worker.close()


@asynccontextmanager
async def many(stage: Stage, number: int) -> AsyncIterator[list[Deliverer]]:
    workers = [stage.replica() for _ in range(number)]
    try:
        yield workers
    finally:
        await asyncio.gather(*[worker.close() for worker in workers])


def loans(first: int, behind: int) -> list[Any]:
    return [loan(f"L{number:02}") for number in range(first, behind)]


async def test_what_is_said_after_it_was_set_comes_signed_and_in_order_and_nothing_twice(stage: Stage) -> None:
    await stage.ingest.post(*loans(0, 3))
    await stage.set(a_webhook(stage.wallet))
    await stage.ingest.post(*loans(3, 6))
    await stage.all_through()
    await stage.ingest.post(*loans(6, 9))
    await stage.all_through()
    assert stage.wallet.subjects == (await stage.fed())[3:]
    assert stage.wallet.are_signed()
    assert not stage.wallet.are_signed("whsec_" + "A" * 44)
    assert len({headers["webhook-id"] for headers, _ in stage.wallet.calls}) == 6
    assert {headers["content-type"] for headers, _ in stage.wallet.calls} == {"application/cloudevents+json"}
    page = await stage.ingest.get("/v1/feed/overdue-facts")
    assert stage.wallet.events == page["items"][3:]
    assert (await stage.health())["behind"] == 0


async def test_a_webhook_of_batches_gets_lists_and_one_of_types_only_those(stage: Stage) -> None:
    await stage.set(a_webhook(stage.wallet, batch=4), a_webhook(stage.wallet, id="cured", types=["debt.cured.v1", "debt.closed.v1"]))
    await stage.ingest.post(*loans(0, 10))
    await stage.ingest.post(repayment("L03", 10_000_000, -1))
    await stage.all_through()
    kinds = [headers["content-type"] for headers, _ in stage.wallet.calls]
    assert sorted(kinds) == ["application/cloudevents+json", *["application/cloudevents-batch+json"] * 3]
    assert [event["type"] for event in stage.wallet.events].count("debt.overdue.v1") == 10
    assert [h["behind"] for h in (await stage.ingest.get("/v1/settings"))["webhooks"]] == [0, 0]


async def test_a_call_that_is_not_taken_is_made_again_before_anything_behind_it(stage: Stage) -> None:
    await stage.set(a_webhook(stage.wallet))
    stage.wallet.answers = [web.Response(), web.Response(status=500), web.Response(status=302, headers={"Location": stage.wallet.url})]
    await stage.ingest.post(*loans(0, 4))
    await stage.all_through()
    a, b, c, d = await stage.fed()
    assert stage.wallet.subjects == [a, b]
    failing = await stage.health()
    assert (failing["last_error"], failing["behind"], bool(failing["next_try_at"])) == ("http_500", 3, True)
    stage.let_pass(LONGEST_PAUSE)
    await stage.all_through()
    stage.let_pass(LONGEST_PAUSE)
    await stage.all_through()
    assert stage.wallet.subjects == [a, b, b, b, c, d]
    same = {headers["webhook-id"] for headers, body in stage.wallet.calls if f'"{b}"'.encode() in body}
    assert len(same) == 1
    assert (await stage.health())["failing_since"] is None


async def test_a_receiver_is_left_alone_for_as_long_as_it_asks(stage: Stage) -> None:
    await stage.set(a_webhook(stage.wallet))
    stage.wallet.answers = [web.Response(status=503, headers={"Retry-After": "1800"})]
    await stage.ingest.post(*loans(0, 1))
    await stage.all_through()
    stage.let_pass(timedelta(seconds=1799))
    await stage.all_through()
    assert len(stage.wallet.calls) == 1
    stage.let_pass(timedelta(seconds=2))
    await stage.all_through()
    assert len(stage.wallet.calls) == 2


async def test_of_many_workers_one_calls_and_the_order_holds(stage: Stage) -> None:
    await stage.set(a_webhook(stage.wallet))
    async with many(stage, 5) as workers:
        for first in range(0, 40, 8):
            await stage.ingest.post(*loans(first, first + 8))
            await asyncio.gather(*[worker.pass_once() for worker in workers])
        await stage.all_through()
    assert stage.wallet.subjects == await stage.fed()
    assert len(stage.wallet.calls) == 40


async def test_a_worker_that_is_gone_is_followed_by_another_after_its_lease_and_the_order_holds(stage: Stage) -> None:
    await stage.set(a_webhook(stage.wallet))
    await stage.ingest.post(*loans(0, 3))
    stage.wallet.held.clear()
    lost = asyncio.create_task(stage.worker.pass_once())
    await until(lambda: stage.wallet.calls, what="the first call")
    lost.cancel()
    await asyncio.gather(lost, return_exceptions=True)
    stage.wallet.held.set()
    async with many(stage, 1) as [next_one]:
        assert await next_one.pass_once() == 0
        stage.let_pass(LEASE)
        assert await next_one.pass_once() == 1
    assert stage.wallet.subjects == [(await stage.fed())[0], *await stage.fed()]


async def test_a_worker_whose_lease_was_taken_over_moves_nothing(stage: Stage) -> None:
    await stage.set(a_webhook(stage.wallet))
    await stage.ingest.post(*loans(0, 3))
    stage.wallet.held.clear()
    slow = asyncio.create_task(stage.worker.pass_once())
    await until(lambda: stage.wallet.calls, what="the first call")
    stage.let_pass(LEASE)
    async with many(stage, 1) as [next_one]:
        taking_over = asyncio.create_task(next_one.pass_once())
        await until(lambda: len(stage.wallet.calls) == 2, what="the other's call")
        stage.wallet.held.set()
        await asyncio.gather(slow, taking_over)
    assert stage.wallet.subjects == [(await stage.fed())[0], *await stage.fed()]


async def test_one_that_takes_nothing_for_days_is_switched_off_with_a_reason_and_goes_on_when_it_is_set_again(stage: Stage) -> None:
    await stage.set(a_webhook(stage.wallet))
    await stage.ingest.post(*loans(0, 2))
    stage.wallet.answers = [web.Response(status=500), web.Response(status=500)]
    await stage.all_through()
    stage.let_pass(OFF_AFTER)
    await stage.all_through()
    answer = await stage.ingest.client.get("/v1/settings")
    assert (answer.headers["ETag"], answer.json()["by"], answer.json()["settings"]["webhooks"][0]["active"]) == ('"2"', "dunwell", False)
    assert "http_500" in (await stage.health())["switched_off_because"]
    stage.let_pass(OFF_AFTER)
    await stage.all_through()
    assert len(stage.wallet.calls) == 2
    await stage.set(a_webhook(stage.wallet, secret=None))
    await stage.all_through()
    assert stage.wallet.subjects[2:] == await stage.fed()
    assert (await stage.health())["switched_off_at"] is None


async def test_one_that_says_it_is_gone_is_not_called_again(stage: Stage) -> None:
    await stage.set(a_webhook(stage.wallet))
    await stage.ingest.post(*loans(0, 2))
    stage.wallet.answers = [web.Response(status=410)]
    await stage.all_through()
    assert "410" in (await stage.health())["switched_off_because"]
    stage.let_pass(OFF_AFTER)
    await stage.all_through()
    assert len(stage.wallet.calls) == 1


async def test_one_that_is_not_active_waits_at_its_place(stage: Stage) -> None:
    await stage.set(a_webhook(stage.wallet))
    await stage.ingest.post(*loans(0, 1))
    await stage.all_through()
    await stage.set(a_webhook(stage.wallet, active=False, secret=None))
    await stage.ingest.post(*loans(1, 3))
    await stage.all_through()
    assert stage.wallet.subjects == ["L00"]
    await stage.set(a_webhook(stage.wallet, secret=None))
    await stage.all_through()
    assert stage.wallet.subjects == await stage.fed()


async def test_what_expired_before_it_was_taken_is_counted_and_the_rest_comes(stage: Stage) -> None:
    await stage.set(a_webhook(stage.wallet))
    for number in range(3):
        await stage.ingest.post(*loans(number, number + 1))
    async with stage.ingest.engine.begin() as conn:
        await conn.execute(text("update ingest.feed set at = at - interval '8 days' where last <= 2"))
        await feed.prune(conn, "ingest", timedelta(days=7), most=10)
    await stage.all_through()
    assert stage.wallet.subjects == ["L02"]
    assert stage.worker.metrics.expired._value.get() == 2


async def test_the_secret_is_shown_to_nobody_and_stands_nowhere_in_the_clear(stage: Stage) -> None:
    said = await stage.set(a_webhook(stage.wallet))
    shown = await stage.ingest.get("/v1/settings")
    history = await stage.ingest.get("/v1/settings/history")
    assert SECRET not in str([said, shown, history])
    assert "secret" not in shown["settings"]["webhooks"][0]
    async with stage.ingest.engine.connect() as conn:
        tables = (await conn.execute(text("select tablename from pg_tables where schemaname = 'ingest'"))).scalars().all()
        rows = [row for table in tables for row in (await conn.execute(text(f"select * from ingest.{table}"))).all()]
    assert SECRET.removeprefix("whsec_") not in str(rows)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"url": "http://wallet.example/x"}, "$.webhooks[0].url"),
    ({"url": "https://user@wallet.example/x"}, "$.webhooks[0].url"),
    ({"url": "https:///x"}, "$.webhooks[0].url"),
    ({"url": "https://wallet.example:x/"}, "$.webhooks[0].url"),
    ({"url": "http://127.0.0.1.example/x"}, "$.webhooks[0].url"),
    ({"topics": ["dunning.case-events"]}, "$.webhooks[0].topics"),
    ({"topics": []}, "$.webhooks[0].topics"),
    ({"secret": "whsec_short"}, "$.webhooks[0]"),
    ({"secret": None}, "$.webhooks[0].secret"),
    ({"batch": 101}, "$.webhooks[0].batch"),
    ({"extra": 1}, "$.webhooks[0]"),
]


async def test_what_no_call_could_be_made_with_is_refused_with_its_place(stage: Stage) -> None:
    for change, place in REFUSED:
        refused = await stage.set(a_webhook(stage.wallet, **change), status=422)
        assert refused["code"] == "invalid_settings"
        assert place in refused["detail"], change


async def test_an_address_of_ours_is_not_called_for_a_customer(stage: Stage) -> None:
    """The URL stands in settings of a time when webhooks could lead here; the call itself is refused."""
    await stage.set(a_webhook(stage.wallet))
    await stage.ingest.post(*loans(0, 1))
    async with many(stage, 1) as [worker]:
        worker.local = False
        await worker.pass_once()
    assert stage.wallet.calls == []
    assert (await stage.health())["last_error"] == "address_not_public"
