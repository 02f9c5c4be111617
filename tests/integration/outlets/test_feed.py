"""The feed: what was published stands in it once, in that order, and no reader ever passes one by."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common import auth
from libs.common.auth import Principal
from libs.common.bus.inprocess import InProcessBus
from libs.common.bus.ports import Message
from libs.common.clock import WallClock
from libs.common.contracts.catalogue import FACTS, PROFILES
from libs.common.feed import store
from libs.common.feed.cursors import Cursor, place
from libs.common.feed.keeping import Feed
from libs.common.feed.store import Stream
from libs.common.outbox import Outbox, Relay
from libs.common.settings import Outlets
from tests.support.postgres import Databases
from tests.support.running import Running, bearer, running_ingest, until
from tests.support.wallet import loan

SCHEMA = "ingest"
FEED = "/v1/feed/overdue-facts"


@pytest.fixture
async def engine(databases: Databases) -> AsyncIterator[AsyncEngine]:
    async with databases.fresh(SCHEMA, pool_size=16) as made:
        yield made


@pytest.fixture
async def ingest(engine: AsyncEngine) -> AsyncIterator[Running]:
    async with running_ingest(engine, tenants=("default", "other")) as (running, _):
        yield running


def said(value: str, *, tenant: str = "default", topic: str = FACTS.name, type_: str = "debt.changed.v1") -> Message:
    headers = (("ce_type", type_.encode()), ("ce_id", value.encode()), ("ce_tenant", tenant.encode()))
    return Message(topic, 0, value.encode(), b'{"n":1}', headers)


def a_feed() -> Feed:
    return Feed(SCHEMA, frozenset({FACTS.name, PROFILES.name}))


async def write(engine: AsyncEngine, *messages: Message) -> None:
    async with engine.begin() as conn:
        await Outbox(SCHEMA).append(conn, messages)


async def read_on(engine: AsyncEngine, after: Cursor | None, limit: int, tenant: str = "default") -> list[tuple[Cursor, str]]:
    stream = Stream(SCHEMA, tenant, FACTS.name)
    async with engine.connect() as conn:
        behind = place(after, await store.standing(conn, stream, after))
        assert behind is not None
        return [(cursor, (message.key or b"").decode()) for cursor, message in await store.read(conn, stream, behind, limit)]


class Slow(InProcessBus):
    """A bus whose answers come late and in any order, so that relays overlap."""

    def __init__(self, seed: int) -> None:
        super().__init__(clock=WallClock(), partitions=1)
        self.dice = random.Random(seed)
        self.log: list[str] = []

    async def publish(self, messages: Any) -> None:
        await asyncio.sleep(self.dice.random() * 0.02)
        self.log += [message.key.decode() for message in messages]


@pytest.mark.parametrize("seed", range(3))
async def test_a_reader_that_follows_while_relays_overlap_reads_each_message_once_and_in_order(engine: AsyncEngine, seed: int) -> None:
    """Three relays as after a lost lock; the reader asks as often as it can and goes on from the last number that it has seen."""
    bus, feed, total = Slow(seed), a_feed(), 400
    relays = [Relay(engine, Outbox(SCHEMA), bus, feed) for _ in range(3)]
    writing = asyncio.create_task(_write_all(engine, total))
    seen: list[str] = []
    numbers: list[int] = []
    after: Cursor | None = None
    async with asyncio.timeout(60):
        while len(seen) < total:
            await asyncio.gather(*[relay.drain() for relay in relays], _read_often(engine))
            while found := await read_on(engine, after, 7):
                seen += [key for _, key in found]
                numbers += [cursor.number for cursor, _ in found]
                after = found[-1][0]
    await writing
    assert numbers == list(range(1, total + 1))
    assert seen == list(dict.fromkeys(bus.log))


async def _read_often(engine: AsyncEngine) -> None:
    for _ in range(5):
        async with engine.connect() as conn:
            await conn.execute(text("select 1"))


async def _write_all(engine: AsyncEngine, total: int) -> None:
    for at in range(0, total, 8):
        await write(engine, *[said(f"m{number}") for number in range(at, at + 8)])


async def test_a_number_is_not_given_before_the_one_below_it_is_committed(engine: AsyncEngine) -> None:
    """With a sequence the second transaction would commit 2 while 1 is still open, and a reader behind 2 would never see 1."""
    feed = a_feed()
    async with engine.connect() as first, engine.connect() as second:
        await feed.keep(first, [said("a")])
        keeping = asyncio.create_task(feed.keep(second, [said("b")]))
        done, _ = await asyncio.wait({keeping}, timeout=0.3)
        assert not done
        assert await read_on(engine, None, 10) == []
        await first.commit()
        await keeping
        await second.commit()
    assert [(cursor.number, key) for cursor, key in await read_on(engine, None, 10)] == [(1, "a"), (2, "b")]


async def test_bundles_are_read_part_by_part_each_topic_and_tenant_with_numbers_of_its_own(engine: AsyncEngine) -> None:
    feed = a_feed()
    for batch in range(3):
        mine = [said(f"m{batch}-{n}") for n in range(700)]
        async with engine.begin() as conn:
            await feed.keep(conn, [*mine, said("p", topic=PROFILES.name), said("o", tenant="other"), said("x", topic="elsewhere")])
    keys, after = [], None
    while found := await read_on(engine, after, 333):
        keys += [key for _, key in found]
        after = found[-1][0]
    assert keys == [f"m{batch}-{n}" for batch in range(3) for n in range(700)]
    assert [cursor.number for cursor, _ in await read_on(engine, None, 10, tenant="other")] == [1, 2, 3]


async def test_watermarks_are_not_kept(engine: AsyncEngine) -> None:
    async with engine.begin() as conn:
        await a_feed().keep(conn, [said("w", tenant="-", type_="debt.watermark.v1")])
        assert (await conn.execute(text("select count(*) from ingest.feed"))).scalar_one() == 0


async def test_after_a_restore_a_reader_is_led_back_to_what_the_database_knows(engine: AsyncEngine) -> None:
    feed = a_feed()
    async with engine.begin() as conn:
        await conn.execute(text("insert into ingest.lineage (system_identifier, timeline, epoch, since) values ('s', 1, 1, now())"))
        await feed.keep(conn, [said("a"), said("b")])
        await conn.execute(text("update ingest.lineage set epoch = 2"))
        await feed.keep(conn, [said("c"), said("d")])
    ahead = Cursor(1, 4)  # it had read two more that this database has lost
    assert [(cursor.text, key) for cursor, key in await read_on(engine, ahead, 10)] == [
        ("0002-000000000000003", "c"),
        ("0002-000000000000004", "d"),
    ]


async def test_over_http_the_events_are_those_of_the_bus_in_structured_mode(ingest: Running) -> None:
    await ingest.post(loan("L1"), loan("L2"))
    page = await ingest.get(FEED)
    assert [item["subject"] for item in page["items"]] == ["L1", "L2"]
    one = page["items"][0]
    assert (one["specversion"], one["type"], one["source"], one["tenant"]) == ("1.0", "debt.overdue.v1", "dunwell/ingest", "default")
    assert one["data"]["loan_id"] == "L1"
    assert one["data"]["overdue"]["total"] > 0
    assert (one["sequence"], page["next"]) == ("0001-000000000000001", "0001-000000000000002")
    assert (await ingest.get(FEED, after=one["sequence"]))["items"] == page["items"][1:]
    assert (await ingest.get("/v1/feed/dunning.overdue-facts", after=page["next"])) == {"items": [], "next": page["next"]}


async def test_a_tenant_reads_nothing_of_another(ingest: Running, engine: AsyncEngine) -> None:
    await ingest.post(loan("L1"))
    async with engine.begin() as conn:
        await auth.add_key(conn, SCHEMA, "theirs", Principal("other", None, frozenset({"loans:read"})))
        await auth.add_key(conn, SCHEMA, "blind", Principal("default", None, frozenset({"cases:read"})))
    theirs = await ingest.client.get(FEED, headers=bearer("theirs"))
    assert (theirs.status_code, theirs.json()["items"]) == (200, [])
    assert (await ingest.client.get(FEED, headers=bearer("blind"))).status_code == 403
    assert (await ingest.client.get("/v1/feed/borrower-profiles", headers=bearer("theirs"))).status_code == 403
    assert (await ingest.client.get("/v1/feed/case-events")).status_code == 404


async def test_what_is_no_longer_kept_is_said_and_not_passed_over(ingest: Running, engine: AsyncEngine) -> None:
    first = (await ingest.post(loan("L1"))) and (await ingest.get(FEED))["next"]
    await ingest.post(loan("L2"))
    await ingest.post(loan("L3"))
    async with engine.begin() as conn:
        await conn.execute(text("update ingest.feed set at = at - interval '8 days' where last <= 2"))
        assert await store.prune(conn, SCHEMA, timedelta(days=7), most=10) == 2
    late = await ingest.client.get(FEED, params={"after": first})
    assert (late.status_code, late.json()["code"], late.json()["oldest"]) == (410, "feed_expired", "0001-000000000000002")
    assert [one["subject"] for one in (await ingest.get(FEED, after=late.json()["oldest"]))["items"]] == ["L3"]
    assert [one["subject"] for one in (await ingest.get(FEED))["items"]] == ["L3"]


async def test_who_waits_is_answered_when_something_is_said(ingest: Running) -> None:
    waiting = asyncio.create_task(ingest.client.get(FEED, params={"wait": 30}))
    await asyncio.sleep(0)
    await ingest.post(loan("L1"))
    async with asyncio.timeout(10):
        assert [one["subject"] for one in (await waiting).json()["items"]] == ["L1"]


@pytest.mark.parametrize("query", ["after=7", "after=0001-x", "limit=0", "limit=1001", "wait=31", "wait=-1", "wait=nan"])
async def test_what_cannot_be_asked_is_refused(ingest: Running, query: str) -> None:
    answer: httpx.Response = await ingest.client.get(f"{FEED}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_who_comes_back_after_a_time_without_a_feed_is_told_that_events_are_missing(engine: AsyncEngine) -> None:
    stop, outbox = asyncio.Event(), Outbox(SCHEMA)
    await write(engine, said("a"))
    await Relay(engine, outbox, Slow(1), a_feed()).drain()
    [(seen, _)] = await read_on(engine, None, 10)
    await write(engine, said("lost"))
    without = asyncio.create_task(Relay(engine, outbox, Slow(1)).run(stop))
    await until(lambda: _nothing_waits(engine), what="an empty outbox")
    stop.set()
    outbox.wake.set()
    await without
    await write(engine, said("b"))
    await Relay(engine, outbox, Slow(1), a_feed()).drain()
    stream = Stream(SCHEMA, "default", FACTS.name)
    async with engine.connect() as conn:
        assert place(seen, await store.standing(conn, stream, seen)) is None
    assert [key for _, key in await read_on(engine, None, 10)] == ["b"]


async def _nothing_waits(engine: AsyncEngine) -> bool:
    async with engine.connect() as conn:
        return await Outbox(SCHEMA).depth(conn) == 0


async def test_a_service_without_a_feed_says_so(engine: AsyncEngine) -> None:
    async with running_ingest(engine, outlets=Outlets(keeps_feed=False, webhook_key=b"k" * 32)) as (running, _):
        await running.post(loan("L1"))
        answer = await running.client.get(FEED)
        assert (answer.status_code, answer.json()["code"]) == (404, "feed_off")
        webhook = {"id": "w", "url": "https://wallet.example/", "topics": [FACTS.name], "secret": "whsec_" + "A" * 44}
        refused = await running.client.put("/v1/settings", json={"webhooks": [webhook]}, headers={"If-Match": '"0"'})
        assert (refused.status_code, refused.json()["code"]) == (422, "feed_off")
        async with engine.connect() as conn:
            assert (await conn.execute(text("select count(*) from ingest.feed"))).scalar_one() == 0
