"""What is left of a borrower is a function of the set of events: in any order, repetition and batches, in all three services."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common import ids, sealing
from libs.common.bus.inprocess import InProcessBus
from libs.common.bus.ports import Message, Record
from libs.common.clock import DrivenClock
from libs.common.cloudevents import Writer
from libs.common.lifecycle import Service
from libs.common.outbox import Outbox
from libs.common.ports import Ports
from services.ingest import decoding
from services.ingest.borrowers import Borrowers, Sealer
from services.ingest.decoding import WalletEvent
from services.ingest.erasing import PROFILE_PARTS
from services.ingest.ledger import SOURCE, Arrival
from services.notifier import service as notifier
from services.notifier.settings import Settings as NotifierSettings
from services.scheduler import service as scheduler
from services.scheduler.settings import Settings as SchedulerSettings
from tests.support.postgres import Databases
from tests.support.running import add_key, bearer, unpublished
from tests.support.wallet import NOON, Event, event

TENANT = "default"
PRIVATE, PUBLIC = sealing.new_pair()
PARTITIONS = 4
PLACES = 6
NUMBERS = "+4477009001"
Stamp = tuple[datetime, str]

PARTS: dict[str, Any] = {
    "name": lambda n: f"Name {n}", "timezone": lambda n: ("Asia/Taipei", "Europe/Paris", "Etc/GMT")[n % 3], "locale": lambda n: f"en-A{n}",
    "addresses": lambda n: [{"channel": "sms", "address": f"{NUMBERS}{n:02d}"}], "attributes": lambda n: {"segment": f"s{n}"},
}  # fmt: skip
updates = st.tuples(st.just("updated"), st.sets(st.sampled_from(sorted(PARTS))))
nothing: st.SearchStrategy[set[str]] = st.just(set())
erasures = st.tuples(st.just("erased"), nothing)
consents = st.tuples(st.just("consent"), nothing)
statuses = st.tuples(st.just("status"), st.sets(st.sampled_from(["s1", "s2"]), min_size=1, max_size=1))
histories = st.lists(st.tuples(st.integers(0, PLACES), st.one_of(updates, updates, erasures, consents, statuses)), min_size=1, max_size=7)
Told = tuple[int, tuple[str, Iterable[str]]]


@dataclass
class Way:
    """Borrower events from ingest's log to what notifier and scheduler keep."""

    engine: AsyncEngine
    borrowers: Borrowers
    consumers: Sequence[Service]
    http: httpx.AsyncClient
    sent: int = field(default=0)

    async def take(self, *events: Event) -> list[Message]:
        """Take a batch in at ingest, and return what it says."""
        before = len(await unpublished(self.engine, "ingest"))
        async with self.engine.begin() as conn:
            await self.borrowers.take(conn, [arrival(one) for one in events])
        return (await unpublished(self.engine, "ingest"))[before:]

    async def deliver(self, *messages: Message) -> None:
        """Have notifier and scheduler take a batch in."""
        records = [Record(m.topic, m.partition, n, m.key, m.value, m.headers, NOON) for n, m in enumerate(messages)]
        for service in self.consumers if records else ():
            [worker] = service.consumers
            async with self.engine.begin() as conn:
                await worker.subscription.handler(conn, records)

    async def pass_on(self, *batches: Sequence[Event]) -> None:
        """Take batches in, and deliver what follows from each."""
        for batch in batches:
            await self.deliver(*await self.take(*batch))

    async def rows(self, statement: str, borrower: str) -> Any:
        async with self.engine.connect() as conn:
            return (await conn.execute(text(statement), {"b": borrower})).all()

    async def entry(self, borrower: str) -> Any:
        """Return the contact book's entry as who may read it sees it."""
        answer = await self.http.get(f"/v1/borrowers/{borrower}", params={"reason": "a test"})
        return answer.json() if answer.status_code == 200 else None


@pytest.fixture
async def way(databases: Databases) -> AsyncIterator[Way]:
    async with databases.fresh("ingest", "notifier", "scheduler") as engine:
        clock = DrivenClock(NOON)
        bus = InProcessBus(clock=clock, partitions=PARTITIONS)
        ports = Ports(engine, bus, clock, "test")
        theirs = notifier.build(ports, NotifierSettings(sealing_private=PRIVATE, digest_key=b"d" * 32))
        await add_key(engine, "notifier", TENANT)
        await theirs.start()
        borrowers = Borrowers(clock, Outbox("ingest"), Writer(SOURCE, PARTITIONS), Sealer(PUBLIC, b"d" * 32))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(theirs.app), base_url="http://test", headers=bearer()) as client:
            yield Way(engine, borrowers, [theirs, scheduler.build(ports, SchedulerSettings())], client)
        await theirs.close()


def arrival(said: Event) -> Arrival:
    read = decoding.structured(msgspec.json.encode(said))
    assert isinstance(read, WalletEvent)
    return Arrival(TENANT, "wallet.borrower-events", read, NOON)


def event_of(borrower: str, number: int, told: Told) -> Event:
    """Return the event of this number in a history."""
    place, (kind, names) = told
    said: dict[str, Any] = {"borrower_id": borrower}
    match kind:
        case "updated":
            said |= {name: PARTS[name](number) for name in names}
        case "consent":
            said |= {"channel": "sms", "purpose": "dunning", "granted": number % 2 == 0, "at": at(place).isoformat()}
        case "status":
            [status_id] = names
            said |= {"status_id": status_id, "status": "hardship", "from": at(place).isoformat()}
    return event(f"borrower.{kind}", recorded=at(place), event_id=f"e{number}", **said)


def at(place: int) -> datetime:
    return NOON - timedelta(hours=PLACES - place)


def stamp_of(number: int, told: Told) -> Stamp:
    return at(told[0]), f"e{number}"


def left(history: Sequence[Told]) -> tuple[dict[str, tuple[Stamp, int]], Stamp | None]:
    """Return the stamp and number of the event that each part, consent and status must be from, and the newest erasure."""
    erased = max((stamp_of(n, one) for n, one in enumerate(history) if one[1][0] == "erased"), default=None)
    found: dict[str, tuple[Stamp, int]] = {}
    for number, one in enumerate(history):
        kind, names = one[1]
        stamp = stamp_of(number, one)
        whats = {"updated": names, "consent": ["consent:sms:dunning"], "status": [f"status:{name}" for name in names], "erased": ["erased"]}
        for what in whats[kind]:
            if what in PROFILE_PARTS and erased is not None and stamp <= erased:
                continue
            if what not in found or found[what][0] < stamp:
                found[what] = stamp, number
    return found, erased


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@example(history=[(1, ("updated", ["name"])), (2, ("erased", []))], order=[1, 0], cuts=[0], sent=[9])
@example(history=[(1, ("erased", [])), (2, ("updated", ["name"]))], order=[0, 1], cuts=[], sent=[9])
@example(history=[(2, ("updated", ["name"])), (1, ("updated", ["timezone"]))], order=[0, 1], cuts=[0], sent=[9])
@example(history=[(1, ("updated", ["name"])), (3, ("updated", ["addresses"])), (2, ("erased", []))], order=[0, 1, 2], cuts=[0, 1], sent=[9])
@given(
    history=histories, order=st.lists(st.integers(0, 6), max_size=5), cuts=st.sets(st.integers(0, 10), max_size=6),
    sent=st.lists(st.integers(1, 5), min_size=1, max_size=4),
)  # fmt: skip
async def test_any_order_repetition_and_batches_of_updates_and_erasures_leave_the_same_of_a_borrower(
    way: Way, history: list[Told], order: list[int], cuts: Iterable[int], sent: list[int]
) -> None:
    borrower = ids.fresh()
    events = [event_of(borrower, number, told) for number, told in enumerate(history)]
    first = [n for n in dict.fromkeys(order) if n < len(events)]
    arriving = [*(n for n in order if n < len(events)), *(n for n in reversed(range(len(events))) if n not in first)]
    for number, batch in enumerate(batches(arriving, cuts)):
        said, size = await way.take(*(events[n] for n in batch)), sent[number % len(sent)]
        for begin in range(0, len(said), size):
            await way.deliver(*said[begin : begin + size])
    await assert_left(way, borrower, history)


def batches(numbers: Sequence[int], cuts: Iterable[int]) -> list[list[int]]:
    """Cut behind these places."""
    made: list[list[int]] = [[]]
    for place, number in enumerate(numbers):
        made[-1].append(number)
        if place in set(cuts):
            made.append([])
    return [batch for batch in made if batch]


async def assert_left(way: Way, borrower: str, history: Sequence[Told]) -> None:
    found, erased = left(history)
    parts = {what: number for what, (_, number) in found.items() if what in PROFILE_PARTS}
    values = await way.rows("select what, time, event_id from ingest.borrower_values where borrower_id = :b", borrower)
    assert {row.what: (row.time, row.event_id) for row in values} == {what: stamp for what, (stamp, _) in found.items()}
    [(keyed,)] = await way.rows(
        "select public_key is not null and wrapped_key is not null from ingest.borrowers where borrower_id = :b", borrower
    )
    assert keyed == bool(parts)
    told = await way.rows(
        "select event_id, time, data from ingest.borrower_events where type like '%updated%' and borrower_id = :b", borrower
    )
    overtaken = [row.data for row in told if erased is not None and (row.time, row.event_id) <= erased]
    assert overtaken == [msgspec.json.encode({"borrower_id": borrower})] * len(overtaken)
    await assert_known_to_the_notifier(way, borrower, {what: PARTS[what](number) for what, number in parts.items()}, erased)
    kept = await way.rows("select status_id, time, event_id from scheduler.statuses where borrower_id = :b", borrower)
    stops = {what.removeprefix("status:"): stamp for what, (stamp, _) in found.items() if what.startswith("status:")}
    stops = {what: stamp for what, stamp in stops.items() if erased is None or stamp > erased}
    assert {row.status_id: (row.time, row.event_id) for row in kept} == (stops | ({"~erased": erased} if erased else {}))
    reach = await way.rows("select value, segment from scheduler.reach where what = 'profile' and borrower_id = :b", borrower)
    zones = [(msgspec.json.decode(row.value)["timezone"], row.segment) for row in reach if row.value is not None]
    zone, segment = (PARTS[what](parts[what]) if what in parts else None for what in ("timezone", "attributes"))
    assert zones == ([(zone, segment["segment"] if segment else None)] if parts else [])


async def assert_known_to_the_notifier(way: Way, borrower: str, parts: dict[str, Any], erased: Stamp | None) -> None:
    entry = await way.entry(borrower)
    if entry is None:
        assert (parts, erased) == ({}, None)
        return
    addresses = [(one["channel"], one["address"]) for one in entry["addresses"]]
    assert (entry["name"], entry["timezone"], entry["locale"]) == (parts.get("name"), parts.get("timezone"), parts.get("locale"))
    assert addresses == [(one["channel"], one["address"]) for one in parts.get("addresses", [])]
    assert entry["erased"] == (erased is not None and not parts)
    [(keyed,)] = await way.rows("select key is not null from notifier.borrowers where borrower_id = :b", borrower)
    assert keyed == bool(parts)


async def test_an_update_that_arrives_after_an_erasure_which_is_newer_is_neither_kept_nor_said(way: Way) -> None:
    await way.take(event("borrower.erased", recorded=at(2), borrower_id="b1"))
    phone = {"channel": "sms", "address": f"{NUMBERS}01"}
    late = event("borrower.updated", recorded=at(1), borrower_id="b1", name="Li Wei", addresses=[phone], attributes={"employer": "Acme"})
    assert await way.take(late) == []
    assert await way.take(late) == [], "the same again is a repeat"
    [(data,)] = await way.rows("select data from ingest.borrower_events where type like '%updated%' and borrower_id = :b", "b1")
    assert msgspec.json.decode(data) == {"borrower_id": "b1"}
    assert await way.rows("select what from ingest.borrower_values where borrower_id = :b", "b1") == [("erased",)]
    assert await way.rows("select public_key, wrapped_key from ingest.borrowers where borrower_id = :b", "b1") == [(None, None)]


async def test_who_comes_back_has_another_key_and_nothing_of_before(way: Way) -> None:
    before = event("borrower.updated", recorded=at(1), borrower_id="b1", name="Before", timezone="Asia/Taipei")
    await way.pass_on([before])
    [(old,)] = await way.rows("select public_key from ingest.borrowers where borrower_id = :b", "b1")
    back = event("borrower.updated", recorded=at(3), borrower_id="b1", name="After")
    await way.pass_on([event("borrower.erased", recorded=at(2), borrower_id="b1"), back])
    entry = await way.entry("b1")
    assert (entry["name"], entry["timezone"], entry["erased"]) == ("After", None, False)
    [(new,)] = await way.rows("select public_key from ingest.borrowers where borrower_id = :b", "b1")
    assert new not in (None, old)


async def test_an_older_update_of_another_part_reaches_the_contact_book(way: Way) -> None:
    await way.pass_on([event("borrower.updated", recorded=at(2), borrower_id="b1", name="Li Wei")])
    await way.pass_on(
        [event("borrower.updated", recorded=at(1), borrower_id="b1", addresses=[{"channel": "sms", "address": f"{NUMBERS}01"}])]
    )
    assert [one["address"] for one in (await way.entry("b1"))["addresses"]] == [f"{NUMBERS}01"]
