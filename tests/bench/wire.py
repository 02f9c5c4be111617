"""Contacts over HTTP: a provider on loopback replaces the sandbox; beside it, a bare aiohttp loop with the same requests."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import aiohttp
import httpx

from libs.common import auth
from libs.common.auth import Principal
from services.notifier.providers import messagebird
from services.notifier.providers.wire import Account, HttpCall
from tests.bench import contacts, side_by_side
from tests.bench.contacts import World
from tests.bench.events import TENANT
from tests.bench.ingest import require
from tests.bench.measuring import Measured, Stopwatch, WorkerProcess, fine, spread, whole
from tests.bench.stack import Stack

AT_ONCE = 200
KEY = "bench"
_HEADERS = {"authorization": f"Bearer {KEY}"}
_ACCOUNT = {"kind": "messagebird", "credentials": {"access_key": "k"}, "settings": {"from": "Lender"}, "at_once": AT_ONCE}


@dataclass
class Provider:
    """The provider's process."""

    worker: WorkerProcess
    url: str

    @property
    def account(self) -> dict[str, object]:
        """Return the account that uses it."""
        return _ACCOUNT | {"base_url": self.url}

    def took(self, word: str = "count") -> tuple[int, int]:
        """Return how many texts arrived since the last `count`, and for how many numbers."""
        self.worker.say(word)
        texts, numbers = self.worker.wait_for("took").split()
        return int(texts), int(numbers)


@contextlib.contextmanager
def provider() -> Iterator[Provider]:
    """Start a provider on loopback, and end it."""
    worker = WorkerProcess("answering")
    try:
        yield Provider(worker, f"http://127.0.0.1:{worker.wait_for('listens')}")
    finally:
        worker.end()


async def run(stack: Stack, count: int, rounds: int) -> list[str]:
    """Measure all three in turn and return the figures."""
    with provider() as there:
        bare, ours, both = [], [], []
        for _ in range(rounds):
            bare.append(await _bare(there, count))
            ours.append(await _ours(stack, there, count, 1))
            both.append(await _ours(stack, there, count, side_by_side.PROCESSES))
    rows = {"ours": ours, f"ours, {side_by_side.PROCESSES}": both}
    lines = [line(name, found, "contacts") for name, found in (("bare loop", bare), *rows.items())]
    return lines + [compared(name, found, bare) for name, found in rows.items()]


async def _ours(stack: Stack, provider: Provider, count: int, processes: int) -> Measured:
    async with stack.database("notifier") as url, contacts.world(url, place="CN", fakes=True) as world:
        await through(world, provider.account, "sms")
        await contacts.fill(world, count)
        result = await side_by_side.sent(stack, world, url, count, processes=processes, beside={"provider": provider.worker.process.pid})
        require("the contacts", await contacts.recorded(world, "sent"), (count, count, 0))
        require("the texts", provider.took(), (count, count))
    return result


async def _bare(provider: Provider, count: int) -> Measured:
    calls = [_call(provider.url, n) for n in range(count)]
    trees = {"client": os.getpid(), "provider": provider.worker.process.pid}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as session:
        slots = asyncio.Semaphore(AT_ONCE)

        async def send(call: HttpCall) -> int:
            async with slots, session.post(call.url, data=call.body, headers=dict(call.headers)) as answer:
                await answer.read()
                return answer.status

        watch = Stopwatch(trees, alone=[os.getpid()])
        statuses = await asyncio.gather(*map(send, calls))
        result = watch.stop(count)
    require("the answers", set(statuses), {201})
    require("the texts", provider.took(), (count, count))
    return result


def _call(url: str, number: int) -> HttpCall:
    message = contacts.message(number)
    account = Account("bench", "messagebird", {"access_key": "k"}, {"from": "Lender"}, url, None)
    return messagebird.request(message, account, contacts.MORNING)


async def through(world: World, account: Mapping[str, object], channel: str) -> None:
    """Route everything on a channel through an account."""
    async with world.engine.begin() as conn:
        await auth.add_key(conn, "notifier", KEY, Principal(TENANT, "bench", frozenset(auth.SCOPES)))
    transport = httpx.ASGITransport(world.service.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://notifier", headers=_HEADERS) as client:
        answer = await client.put("/v1/providers/bench", json=account)
        require("the provider", answer.status_code, 201)
        routes = {"items": [{"channel": channel, "provider": "bench"}]}
        require("the route", (await client.put("/v1/routes", json=routes)).status_code, 200)


def compared(name: str, ours: Sequence[Measured], bare: Sequence[Measured]) -> str:
    """Return our rate relative to the bare loop's, round by round."""
    ratios = [mine.rate / limit.rate for mine, limit in zip(ours, bare, strict=True)]
    return f"  {f'{name} / bare':<20} {spread(ratios, fine)} of its rate"


def line(name: str, found: Sequence[Measured], what: str) -> str:
    """Return the rate and the CPU of a set of rounds."""
    cpu = spread([m.cpu_ms for m in found], fine)
    return f"  {name:<20} {spread([m.rate for m in found], whole)} {what}/s, {cpu} ms of CPU each ({found[-1].cpu_parts} us)"
