"""Decisions about the wallets' topics: whose they are, and what one record that cannot be used does to the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.bus.ports import Message, Record, Subscription, partition_of
from libs.common.contracts.catalogue import BORROWER_EVENTS_TOPIC, FACTS, LOAN_EVENTS_TOPIC, PROFILES, dead_letters_of, of_tenant
from tests.support.postgres import Databases
from tests.support.running import Heard, Running, add_key, bearer, running_ingest
from tests.support.wallet import Event, event, loan, repayment

TENANTS = ("default", "acme")
ACME = "acme-key"


@pytest.fixture
async def ingest(databases: Databases) -> AsyncIterator[tuple[Running, Heard]]:
    async with databases.fresh("ingest") as engine, running_ingest(engine, FACTS, PROFILES, tenants=TENANTS) as running:
        await add_key(engine, "ingest", "acme", ACME)
        yield running


def binary(one: Event, *, tenant: str = "default", partition: int = 0) -> Message:
    """Return an event as a wallet puts it on its topic: attributes in headers, data in the value, any key."""
    topic = of_tenant(LOAN_EVENTS_TOPIC, tenant, first=TENANTS[0])
    headers = tuple((f"ce_{name}", str(one[name]).encode()) for name in ("specversion", "id", "source", "type", "time", "subject"))
    return Message(topic, partition, b"whatever", msgspec.json.encode(one["data"]), headers)


async def publish(running: Running, *messages: Message) -> None:
    await running.bus.publish(messages)
    await running.service.pump()


@asynccontextmanager
async def client_of(running: Running, key: str) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(running.service.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=bearer(key)) as client:
        yield client


@pytest.mark.parametrize(
    "bad",
    [
        event("repayment.received", loan_id="L2", repayment_id="r-bad", amount=100, paid_at="9999-12-31T23:00:00-05:00"),
        {**(paused := event("loan.paused", loan_id="L2")), "data": {**paused["data"], "from": "9999-12-31"}},
        event("instalment.due", loan_id="L2", n=9, due_on="9999-12-31", principal=1),
        {**repayment("L2", 100), "time": "9999-12-31T23:59:59+00:00"},
    ],
    ids=["paid_at", "pause", "due_on", "time"],
)
async def test_an_event_of_the_last_day_there_is_is_parked_alone_and_its_loan_rests(ingest: tuple[Running, Heard], bad: Event) -> None:
    running, heard = ingest
    good = [loan("L1"), loan("L2"), repayment("L1", 1000, -3)]
    await publish(running, *[binary(one) for one in (*good[:2], bad, good[2])])
    first, second = [await running.get(f"/v1/loans/{name}") for name in ("L1", "L2")]
    assert (first["events"], first["doubt"], first["overdue"]["total"]) == (2, None, 19000)
    assert (second["events"], len(second["doubt"]["parked"])) == (1, 1)
    assert [f.doubt is not None for f in heard.of("debt.changed.v1", "debt.overdue.v1") if f.loan_id == "L2"][-1]
    [parked] = (await running.get("/v1/parked"))["items"]
    assert parked["id"] == second["doubt"]["parked"][0]


async def test_a_topic_belongs_to_its_tenant_whatever_the_event_says(ingest: tuple[Running, Heard]) -> None:
    running, heard = ingest
    mine, theirs = loan("L1"), loan("L1", tenant="default")
    await publish(running, binary(mine), binary(theirs, tenant="acme"))
    await publish(running, binary(repayment("L1", 5000, -3), tenant="acme"))
    async with client_of(running, ACME) as acme:
        state = (await acme.get("/v1/loans/L1")).json()
    assert (state["events"], state["overdue"]["total"]) == (2, 15000)
    mine_now = await running.get("/v1/loans/L1")
    assert (mine_now["events"], mine_now["overdue"]["total"]) == (1, 20000)
    told = [(e.tenant, data.overdue.total) for e, data in heard.messages if e.type in ("debt.overdue.v1", "debt.changed.v1")]
    assert sorted(told) == [("acme", 15000), ("acme", 20000), ("default", 20000)]


async def test_over_http_the_credential_names_the_tenant(ingest: tuple[Running, Heard]) -> None:
    running, _ = ingest
    await running.post(loan("L1"))
    async with client_of(running, ACME) as acme:
        assert (await acme.get("/v1/loans/L1")).status_code == 404
        answer = await acme.post("/v1/events", json=[loan("L1")], headers={"Content-Type": "application/cloudevents-batch+json"})
        assert answer.json() == {"accepted": 1, "rejected": []}
        assert (await acme.get("/v1/loans/L1")).json()["events"] == 1
        assert (await acme.get("/v1/loans/L1/events")).json()["items"] != (await running.get("/v1/loans/L1/events"))["items"]


async def test_facts_and_profile_of_a_borrower_stand_on_one_partition_and_profiles_beside_facts(databases: Databases) -> None:
    seen: list[Record] = []

    async def hear(_: AsyncConnection, records: Sequence[Record]) -> None:
        seen.extend(record for record in records if record.header("ce_type") != "debt.watermark.v1")

    async with databases.fresh("ingest") as engine, running_ingest(engine) as (running, _):
        ear = running.bus.consume(Subscription("ear", (FACTS.name, PROFILES.name), hear, engine, "ingest"))
        hearing = asyncio.create_task(ear.run())
        await running.post(*[loan(f"L{n}", borrower_id="B1") for n in range(6)])
        await running.post(event("borrower.updated", borrower_id="B1", timezone="Asia/Taipei"))
        await running.post(
            event("borrower.consent", borrower_id="B1", channel="sms", purpose="dunning", granted=True, at="2026-11-01T00:00:00Z")
        )
        await ear.stop()
        await hearing
    assert {record.topic for record in seen} == {FACTS.name, PROFILES.name}
    assert {record.partition for record in seen} == {partition_of("default", "B1", running.bus.partitions)}


def test_what_is_about_one_borrower_of_one_tenant_is_on_one_partition_and_tenants_are_told_apart() -> None:
    """These numbers are on the disks of whoever runs Dunwell: another hash would tear borrowers apart."""
    assert [partition_of("default", f"B{n}", 12) for n in range(6)] == [9, 7, 1, 3, 8, 10]
    assert partition_of("default", "B1", 12) != partition_of("acme", "B1", 12)


async def test_events_about_borrowers_go_on_the_borrower_topic_and_others_on_the_loan_topic(ingest: tuple[Running, Heard]) -> None:
    running, _ = ingest
    await running.post(loan("L1"), event("borrower.updated", borrower_id="B1", timezone="Asia/Taipei"))
    async with running.engine.connect() as conn:
        found: Any = await conn.exec_driver_sql(
            "select topic, sum(next_offset) from ingest.positions where grp = 'dunwell-ingest' group by 1"
        )
    assert {row[0]: int(row[1]) for row in found.all()} == {
        LOAN_EVENTS_TOPIC.name: 1,
        BORROWER_EVENTS_TOPIC.name: 1,
        f"{LOAN_EVENTS_TOPIC.name}.acme": 0,
        f"{BORROWER_EVENTS_TOPIC.name}.acme": 0,
    }


@pytest.mark.parametrize("structured", [True, False])
async def test_an_unreadable_event_about_a_borrower_is_sealed_on_whichever_topic_it_comes(
    databases: Databases, *, structured: bool
) -> None:
    letters: list[Record] = []

    async def hear(_: AsyncConnection, records: Sequence[Record]) -> None:
        letters.extend(records)

    phone = "+447700900123"
    bad = event("borrower.updated", borrower_id="B1", addresses=[{"channel": "sms", "address": phone, "priority": "first"}])
    message = binary(bad)
    if structured:
        message = Message(message.topic, 0, b"whatever", msgspec.json.encode(bad), ())
    async with databases.fresh("ingest") as engine, running_ingest(engine, PROFILES) as (running, heard):
        ear = running.bus.consume(Subscription("ear", (dead_letters_of(LOAN_EVENTS_TOPIC.name),), hear, engine, "ingest"))
        hearing = asyncio.create_task(ear.run())
        await publish(running, message, binary(loan("L1")))
        await ear.stop()
        await hearing
        [parked] = (await running.get("/v1/parked"))["items"]
        async with engine.connect() as conn:
            [row] = (await conn.exec_driver_sql("select event, borrower_id from ingest.parked")).all()
    assert (parked["error"], row.borrower_id) == ("malformed", "B1")
    assert [status.status for status in heard.of("borrower.status.v1")] == ["in_doubt"]
    assert len(letters) == 1
    assert not [kept for kept in (row.event, letters[0].value or b"") if phone.encode() in kept]
