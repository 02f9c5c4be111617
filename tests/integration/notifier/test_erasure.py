"""After an erasure no table of the notifier holds personal data, and every record of what was decided and done remains."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import quote_plus

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common import sealing
from libs.common.addresses import lookup_of
from libs.common.cloudevents import Envelope
from libs.common.contracts.borrower_profiles import BorrowerErasure
from libs.common.contracts.catalogue import PROFILES
from libs.common.db.rewrapping import rewrap
from libs.common.lifecycle import Service
from libs.common.sealing import Ring
from libs.compliance import Packs, load_packs
from libs.compliance.packs import parse_pack
from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.receipts import Standing
from services.notifier.mailbox import Mailbox
from services.notifier.providers.fake.server import FakeProviders
from services.notifier.providers.fake.speaker import Taken
from services.notifier.providers.sandbox import Kept
from services.notifier.service import Options
from services.notifier.store import borrowers, erasing
from services.notifier.store.sealed import PLACES
from tests.integration.notifier.test_provider_receipts import PUBLIC, post, reported
from tests.integration.notifier.test_providers import FAKES, put, route, twilio
from tests.integration.notifier.world import DIGEST_KEY, KEY, PATIENCE_S, TENANT, World, a_world
from tests.support.postgres import Databases
from tests.support.running import until

NAME, PHONE, EMAIL = "Li Wei", "+12025550123", "li.wei@example.org"
HASHES = (lookup_of(DIGEST_KEY, TENANT, "sms", PHONE), lookup_of(DIGEST_KEY, TENANT, "email", EMAIL))
PLAIN = (NAME, NAME.upper(), "Li+Wei", PHONE, PHONE.removeprefix("+"), quote_plus(PHONE), EMAIL, quote_plus(EMAIL))
COUNTED = """
id: TT
name: A country that counts over numbers, for these tests
version: "1"
verified: not law; an invented country
zones: []
rules:
- {id: tt-number, kind: cap, nature: law, cite: "test", evidence: product_default, channels: [any],
   limit: 9, unit: dial, reach: {rolling_calendar_days: 7}, scope: number}
"""


@asynccontextmanager
async def a_full_life(databases: Databases) -> AsyncIterator[tuple[World, Taken]]:
    """A world in which everything has happened to `b1` that leaves data behind, and `other` got a message."""
    packs = Packs({**load_packs().by_id, "TT": parse_pack(COUNTED, "TT.yaml")})
    async with (
        FakeProviders(FAKES).served() as fake,
        a_world(databases, options=Options(packs=packs), fakes=True, public_url=PUBLIC) as world,
    ):
        await world.lift_the_days_limit()
        await put(world, "main", twilio(fake))
        await route(world, {"channel": "sms", "provider": "main"})
        for borrower, addresses in (("b1", {"sms": PHONE, "email": EMAIL}), ("other", {"email": "other@example.org"})):
            await world.profile(borrower, addresses=addresses, jurisdictions=("TT",))
            await world.fact(borrower, jurisdictions=("TT",))
        wishes = {"no_contact": [{"days": ["sun"]}], "reason": f"{NAME} called from {PHONE}"}
        await world.call("PUT", "/v1/borrowers/b1/preferences", json=wishes)
        for task, channel in (("by-sms", "sms"), ("by-email", "email")):
            await world.request("b1", task, channels=(channel,), variables={"salutation": NAME, "reply_to": EMAIL})
        await world.request("other", "t-other", channels=("email",))
        await world.service.pump()
        ((_, taken),) = fake.kept
        await post(world, reported(world, taken, Standing.SENT))
        wanted = {"borrower_id": "b1", "debt": "loan-b1", "channel": "call", "by": "wu", "to": PHONE}
        assert (await world.call("POST", "/v1/contacts:authorize", json=wanted)).json()["decision"] == "allow"
        await world.get("/v1/borrowers/b1", reason=f"{NAME} asked what we know of him")
        world.clock.advance(timedelta(minutes=1))
        await world.fresh_watermarks()
        yield world, taken


async def stored(engine: AsyncEngine) -> dict[str, list[bytes]]:
    """Return every value in every table of the notifier as bytes, except the callers' keys."""
    found: dict[str, list[bytes]] = {}
    async with engine.connect() as conn:
        tables = (await conn.execute(text("select tablename from pg_tables where schemaname = 'notifier'"))).scalars().all()
        for table in tables:
            for row in await conn.execute(text(f'select * from notifier."{table}"')):
                found.setdefault(table, []).extend(bytes(value) if isinstance(value, bytes) else str(value).encode() for value in row)
    return found


def openings(ring: Ring) -> tuple[bytes, ...]:
    """Return the prefixes, as bytes and as text, of everything that the newest key of a ring opens."""
    return (*ring.heads, *(sealing.as_text(head).encode() for head in ring.heads))


def personal(found: dict[str, list[bytes]], ring: Ring) -> set[str]:
    """Return the tables in which personal data can be read, opened, or recognised by its hash."""
    sandbox = [sealing.digest(DIGEST_KEY, "sandbox", TENANT, address) for address in (PHONE, EMAIL)]
    needles = [word.encode() for word in (*PLAIN, *HASHES)] + sandbox
    openable = openings(ring)
    return {
        table.rstrip("_0123456789")
        for table, values in found.items()
        for value in values
        if any(needle in value for needle in needles) or value.startswith(openable)
    }


async def ask_service(service: Service, path: str) -> Any:
    """Return the answer of another notifier on the same database."""
    transport = httpx.ASGITransport(app=service.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://notifier", headers={"Authorization": f"Bearer {KEY}"}) as client:
        return (await client.get(path)).json()


async def of(engine: AsyncEngine, borrower: str) -> dict[str, list[bytes]]:
    """Return everything stored about one borrower, by table."""
    found: dict[str, list[bytes]] = {}
    async with engine.connect() as conn:
        for table in ("borrowers", "sandbox_messages", "addresses", "contacts"):
            rows = await conn.execute(text(f"select * from notifier.{table} where borrower_id = :b"), {"b": borrower})
            found[table] = [str(row).encode() for row in rows]
    return found


async def record(world: World) -> list[Any]:
    """Return what an auditor sees of `b1`."""
    deliveries = [await world.delivery("b1", task) for task in ("by-sms", "by-email")]
    return [*deliveries, await world.get("/v1/borrowers/b1/contacts")]


async def test_after_an_erasure_nothing_of_the_person_is_left_and_the_record_is_whole(databases: Databases) -> None:
    async with a_full_life(databases) as (world, _):
        ring = world.settings.ring
        before, others = await record(world), await of(world.engine, "other")
        assert personal(await stored(world.engine), ring) == {
            "addresses", "borrowers", "callbacks", "contacts", "deliveries", "pii_reads", "preferences", "provider_accounts",
            "sandbox_messages",
        }  # fmt: skip
        await world.erase("b1")
        await world.erase("other")
        left = await stored(world.engine)
        assert personal(left, ring) == {"provider_accounts", "nameless_contacts"}
        assert await world.scalar("select count(*) from notifier.nameless_contacts") == len({"by-sms", "by-email", "t-other", "a call"})
        assert await record(world) == before
        assert all(delivery["decisions"] for delivery in before[:2])
        assert others != await of(world.engine, "other")


async def test_everything_that_is_sealed_for_the_notifier_is_known_to_a_change_of_its_key(databases: Databases) -> None:
    async with a_full_life(databases) as (world, _):
        old = world.settings.ring
        new = Ring((sealing.new_pair()[0], *old.privates))
        tables = {place.table.removeprefix("notifier.") for place in PLACES}
        assert tables == {"borrowers", "callbacks", "provider_accounts", "replies", "sandbox_messages"}
        assert [sum([done.unreadable async for done in rewrap(world.engine, place, new)]) for place in PLACES] == [0] * len(PLACES)
        values = [value for column in (await stored(world.engine)).values() for value in column]
        assert not [value for value in values if value.startswith(openings(old))]
        another = world.another(sealing_private=new.privates[0], sealing_older=())
        answer = await ask_service(another, "/v1/sandbox/messages")
        assert sorted(message["to"] for message in answer["items"]) == [EMAIL, "other@example.org"]


async def test_an_erasure_touches_nobody_else(databases: Databases) -> None:
    async with a_full_life(databases) as (world, _):
        others = await of(world.engine, "other")
        await world.erase("b1")
        assert await of(world.engine, "other") == others
        [message] = await world.messages("other")
        assert message["to"] == "other@example.org"
        [gone] = await world.messages("b1")
        assert (gone["task_id"], gone["to"], gone["subject"], gone["body"]) == ("by-email", None, None, None)


async def test_a_receipt_that_comes_after_the_erasure_is_heard_and_its_request_not_kept(databases: Databases) -> None:
    async with a_full_life(databases) as (world, taken):
        await world.erase("b1")
        await world.erase("other")
        assert (await post(world, reported(world, taken, Standing.DELIVERED))).json() == {"new": 1}
        assert (await world.delivery("b1", "by-sms"))["state"] == "delivered"
        assert personal(await stored(world.engine), world.settings.ring) == {"provider_accounts", "nameless_contacts"}


async def test_a_message_that_reaches_the_sandbox_while_its_borrower_is_erased_leaves_no_text(databases: Databases) -> None:
    async with a_full_life(databases) as (world, _):
        mailbox = Mailbox(world.engine, world.clock, world.settings.ring, DIGEST_KEY)
        late = Kept("late", OutgoingMessage("m-1", TENANT, "t", "b1", "sms", PHONE, None, f"Dear {NAME}"))
        async with world.engine.begin() as erasure:
            await borrowers.lock(erasure, [(TENANT, "b1")])
            keeping = asyncio.create_task(mailbox.keep([late]))
            await until(lambda: world.scalar("select count(*) > 0 from pg_locks where not granted"), "the mailbox to wait")
            stamp = borrowers.Stamp(TENANT, "b1", world.clock.now(), "x")
            await erasing.forget(erasure, await borrowers.erase(erasure, [stamp]))
        await asyncio.wait_for(keeping, PATIENCE_S)
        assert await world.scalar("select sealed is null and lookup is null from notifier.sandbox_messages where id = 'late'")


async def test_an_erasure_that_comes_after_a_newer_profile_leaves_that_and_takes_out_all_else(databases: Databases) -> None:
    async with a_full_life(databases) as (world, _):
        erasure = BorrowerErasure(borrower_id="b1", time=world.clock.now() - timedelta(days=1), id="x")
        await world.hear(PROFILES, "borrower.erased.v1", erasure, borrower="b1", what="erased")
        entry = await world.get("/v1/borrowers/b1")
        assert (entry["name"], entry["erased"]) == (NAME, False)
        assert await world.scalar("select count(lookup) from notifier.contacts where borrower_id = 'b1'") == 0
        async with world.engine.begin() as conn:
            stamp = borrowers.Stamp(TENANT, "b1", erasure.time, erasure.id)
            assert await borrowers.erase(conn, [stamp]) == set(), "it is known"


async def test_who_comes_back_in_the_batch_that_erases_him_is_erased_first(databases: Databases) -> None:
    async with a_full_life(databases) as (world, _):
        erasure = BorrowerErasure(borrower_id="b1", time=world.clock.now(), id="x")
        anew = world.a_profile("b1", {"sms": "+12025550199"}, time=world.clock.now() + timedelta(seconds=1))
        await world.bus.publish(
            [
                world.writer.message(
                    PROFILES,
                    Envelope(kind, kind, "test", world.clock.now(), TENANT, "b1"),
                    data,
                    key=f"{TENANT}/b1/profile",
                    borrower_id="b1",
                )
                for kind, data in (("borrower.erased.v1", erasure), ("borrower.profile.v1", anew))
            ]
        )
        [message] = await world.messages("b1")
        assert (message["to"], message["body"]) == (None, None)
        assert await world.scalar("select count(lookup) from notifier.contacts where borrower_id = 'b1'") == 0
        assert [one["address"] for one in (await world.get("/v1/borrowers/b1"))["addresses"]] == ["+12025550199"]
