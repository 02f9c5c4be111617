"""Rotation of the sealing key: everything is resealed, however it is interrupted, and then the old key is no longer needed."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common import sealing
from libs.common.bus.ports import Message
from libs.common.contracts.catalogue import BORROWER_EVENTS_TOPIC
from libs.common.sealing import Ring
from services import keys
from services.embedded import Secrets
from tests.e2e.world import MORNING, World, borrower, count, late_loan, new_secrets, one_process
from tests.support.postgres import Databases
from tests.support.running import until

ROOT = Path(__file__).parents[2]
LATER = MORNING + timedelta(minutes=10)
SECRET = b"not a record, but perhaps a name"
TWILIO = {"kind": "twilio", "credentials": {"account_sid": "AC1", "auth_token": "t"}, "settings": {"from": "+12025550100"}}


@asynccontextmanager
async def a_book(databases: Databases, old: Secrets, *, borrowers: int) -> AsyncIterator[AsyncEngine]:
    """A database in which everything sealed for the notifier was sealed for this key."""
    async with databases.fresh("ingest", "scheduler", "notifier") as engine:
        async with one_process(engine, secrets=old) as world:
            for i in range(borrowers):
                await world.publish(*borrower(f"b{i}"))
            await world.publish(late_loan("l0", "b0"))
            await world.platform.bus.publish([Message(BORROWER_EVENTS_TOPIC.name, 0, b"k", SECRET, ())])
            await until(partial(count, engine, "select count(*) from ingest.parked"), "the letter to be parked")
            answer = await world.http.put("/notifier/v1/providers/main", json=TWILIO)
            assert answer.status_code == 201, answer.text
            await world.let_pass(minutes=5)
            assert len(await world.messages("b0")) == 1
        yield engine


async def rewrapped(engine: AsyncEngine, ring: Ring, *, batch: int = 3) -> int:
    """Reseal everything, and return how much could not be read."""
    return sum([done.unreadable async for done in keys.rewrap_all(engine, ring, partitions=1, batch=batch)])


def ring_of(secrets: Secrets) -> Ring:
    return Ring((secrets.sealing_private, *secrets.sealing_older))


async def send_to(world: World, *names: str) -> dict[str, str]:
    """Let these loans become overdue, and return where the messages went."""
    await world.publish(*(late_loan(f"late-{name}", name) for name in names))
    await world.let_pass(minutes=30)
    return {name: (await world.messages(name))[-1]["to"] for name in names}


def phone_of(name: str) -> str:
    return str(borrower(name)[0]["data"]["addresses"][0]["address"])


async def test_once_all_is_sealed_anew_the_old_key_is_needed_by_nobody(databases: Databases) -> None:
    old = new_secrets()
    new = new_secrets(old)
    alone = Secrets(new.sealing_private, new.sealing_public, new.digest)
    async with a_book(databases, old, borrowers=7) as engine:
        before = await keys.remaining(engine, ring_of(new))
        assert before == {
            "ingest.borrowers": 7, "ingest.parked": 1, "notifier.borrowers": 7, "notifier.provider_accounts": 1, "notifier.callbacks": 0,
            "notifier.replies": 0, "notifier.sandbox_messages": 1,
        }  # fmt: skip
        assert await keys.remaining(engine, ring_of(old)) == dict.fromkeys(before, 0)
        assert await rewrapped(engine, ring_of(new)) == 0
        assert await keys.remaining(engine, ring_of(new)) == dict.fromkeys(before, 0)
        async with one_process(engine, secrets=alone, start=LATER) as world:
            assert [message["to"] for message in await world.messages("b0")] == [phone_of("b0")]
            assert await send_to(world, "b1", "b2") == {name: phone_of(name) for name in ("b1", "b2")}
            named = await world.http.put("/notifier/v1/providers/main", json={**TWILIO, "credentials": None})
            assert named.json()["credentials"] == ["account_sid", "auth_token"]
        async with engine.connect() as conn:
            letter = msgspec.json.decode((await conn.execute(text("select event from ingest.parked"))).scalar_one())
        assert Ring((new.sealing_private,)).unseal(sealing.from_text(letter["sealed"]), "default/letter") == SECRET


async def test_profiles_are_said_again_so_that_a_notifier_without_its_database_hears_of_keys_it_can_open(databases: Databases) -> None:
    old = new_secrets()
    new = new_secrets(old)
    async with a_book(databases, old, borrowers=3) as engine:
        await rewrapped(engine, ring_of(new))
        async with engine.begin() as conn:
            await conn.execute(text("delete from notifier.borrowers where borrower_id = 'b1'"))
        alone = Secrets(new.sealing_private, new.sealing_public, new.digest)
        async with one_process(engine, secrets=alone, start=LATER) as world:
            assert await send_to(world, "b1") == {"b1": phone_of("b1")}


async def test_while_it_is_under_way_both_keys_open_and_new_borrowers_are_sealed_for_the_new_one(databases: Databases) -> None:
    old = new_secrets()
    new = new_secrets(old)
    async with (
        a_book(databases, old, borrowers=2) as engine,
        one_process(engine, secrets=new, start=LATER) as world,
    ):
        await world.publish(*borrower("late-comer"))
        assert (await keys.remaining(engine, ring_of(new)))["ingest.borrowers"] == 2
        assert await send_to(world, "b1", "late-comer") == {name: phone_of(name) for name in ("b1", "late-comer")}


async def test_what_no_key_opens_is_left_as_it_is_and_counted(databases: Databases) -> None:
    old, stranger = new_secrets(), new_secrets()
    async with a_book(databases, old, borrowers=2) as engine:
        before = await keys.remaining(engine, ring_of(stranger))
        assert await rewrapped(engine, ring_of(stranger)) == sum(before.values())
        assert await keys.remaining(engine, ring_of(old)) == dict.fromkeys(before, 0)


@pytest.mark.chaos
async def test_killed_in_the_middle_and_begun_again_it_loses_nothing(databases: Databases) -> None:
    old = new_secrets()
    new = new_secrets(old)
    async with a_book(databases, old, borrowers=30) as engine:
        async with engine.begin() as blocker:
            await blocker.execute(text("select 1 from ingest.borrowers where borrower_id = 'b5' for update"))
            first = await command(engine, ring_of(new), "--batch", "4")
            waits = "select count(*) > 0 from pg_locks where not granted"
            await until(partial(count, engine, f"select ({waits})::int"), "the command to wait in the middle")
            os.kill(first.pid, signal.SIGKILL)
            await first.wait()
        left = (await keys.remaining(engine, ring_of(new)))["ingest.borrowers"]
        assert 0 < left < 30
        counting = await command(engine, ring_of(new), "--count")
        assert (await counting.wait(), f"ingest.borrowers: {left} left" in (await said(counting))) == (1, True)
        again = await command(engine, ring_of(new), "--batch", "4")
        assert await again.wait() == 0
        alone = Secrets(new.sealing_private, new.sealing_public, new.digest)
        names = [f"b{i}" for i in range(1, 30)]
        async with one_process(engine, secrets=alone, start=LATER) as world:
            assert await send_to(world, *names) == {name: phone_of(name) for name in names}


async def command(engine: AsyncEngine, ring: Ring, *arguments: str) -> asyncio.subprocess.Process:
    environment = {
        **os.environ,
        "DUNWELL_DATABASE_URL": engine.url.set(drivername="postgresql").render_as_string(hide_password=False),
        "DUNWELL_SEALING_PRIVATE_KEY": ",".join(base64.b64encode(key).decode() for key in ring.privates),
        "DUNWELL_PARTITIONS": "1",
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cli", "keys", "rewrap", *arguments,
        cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def said(process: asyncio.subprocess.Process) -> str:
    output: Any = process.stdout
    return str((await output.read()).decode())
