"""`dunwell fakes`: accounts pointing to it over HTTP, messages through it, and its receipts coming back."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn

from services.fakes import accounts, wanted
from services.notifier.providers.fake.server import FakeProviders
from services.notifier.providers.fake.speaker import FAILS, SAYS_NOTHING
from tests.integration.common.test_embedded import dunwell, printed_to_the_end
from tests.integration.notifier.test_providers import REAL, ask, open_packs, put, route
from tests.integration.notifier.world import World, a_world
from tests.support.postgres import Databases
from tests.support.running import until

QUICK = "0.02"


@asynccontextmanager
async def a_reached_world(databases: Databases) -> AsyncIterator[World]:
    """A notifier reachable by providers on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        origin = f"http://127.0.0.1:{door.getsockname()[1]}"
        async with a_world(databases, options=open_packs(), fakes=True, public_url=origin) as world:
            server = uvicorn.Server(uvicorn.Config(world.service.app, log_config=None, lifespan="off", ws="none"))
            serving = asyncio.create_task(server.serve([door]))
            try:
                yield world
            finally:
                server.should_exit = True
                await serving


@asynccontextmanager
async def running_fakes(*words: str) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Run the command; yields its address once it prints it."""
    async with dunwell("fakes", "--port", "0", "--after", QUICK, *words) as process:
        said = ""

        async def explained() -> bool:
            nonlocal said
            assert process.stdout is not None
            said += (line := await process.stdout.readline()).decode()
            assert line, said
            return "Ctrl-C" in said

        await until(explained, "the fakes", within_s=60)
        for word in ("twilio", "+15005550003", FAILS):
            assert word in said
        found = re.search(r"GET (http://127\.0\.0\.1:\d+)/KIND", said)
        assert found
        yield found[1], process


async def configured(world: World, origin: str, kind: str) -> str:
    """Point an account to its fake as the fake describes, and return where its receipts go."""
    async with httpx.AsyncClient() as client:
        body = (await client.get(f"{origin}/{kind}")).raise_for_status().json()
    return str((await put(world, "main", body))["receipts_url"])


async def test_a_message_goes_through_the_fake_and_its_receipt_comes_back(databases: Databases) -> None:
    async with a_reached_world(databases) as world, running_fakes() as (origin, process):
        await configured(world, origin, "twilio")
        await route(world, {"channel": "sms", "provider": "main"})
        for borrower, to in (("arrives", REAL), ("fails", FAILS), ("silent", SAYS_NOTHING)):
            await ask(world, borrower, to)
        await world.service.pump()

        async def told() -> bool:
            await world.service.pump()
            return [(await world.delivery(one))["state"] for one in ("arrives", "fails", "silent")] == ["delivered", "failed", "sent"]

        await until(told, "the receipts")
        process.send_signal(signal.SIGINT)
        said = await printed_to_the_end(process)
        assert process.returncode == 0
        assert "Traceback" not in said
        assert "reported delivered" in said


async def test_receipts_of_which_the_message_says_nothing_go_where_the_command_is_told(databases: Databases) -> None:
    async with a_reached_world(databases) as world:
        async with running_fakes() as (origin, _):
            url = await configured(world, origin, "aliyun_sms")
        async with running_fakes("--receipts", f"aliyun_sms={url}") as (origin, _):
            async with httpx.AsyncClient() as client:
                await put(world, "main", (await client.get(f"{origin}/aliyun_sms")).json(), 200)
            await route(world, {"channel": "sms", "provider": "main"})
            await ask(world, "b1")
            await world.service.pump()

            async def delivered() -> bool:
                return bool((await world.delivery("b1"))["state"] == "delivered")

            await until(delivered, "the receipt")


async def test_an_account_of_every_kind_is_taken_as_its_fake_describes_it(databases: Databases) -> None:
    async with FakeProviders(accounts()).served() as fakes, a_world(databases, fakes=True) as world:
        for kind in fakes.accounts:
            shown = await put(world, kind.replace("_", "-"), wanted(fakes, kind))
            assert shown["kind"] == kind


@pytest.mark.parametrize("words", [("--receipts", "pigeon=http://a.example"), ("--receipts", "twilio")])
async def test_what_cannot_be_meant_is_said_in_one_sentence(words: tuple[str, ...]) -> None:
    async with dunwell("fakes", *words) as process:
        said = await printed_to_the_end(process)
    assert said.startswith("dunwell: --receipts")
    assert process.returncode == 2
