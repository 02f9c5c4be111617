"""Events over HTTP into the program as it is deployed: all services in one process, or ingest alone with Kafka behind it."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import asyncpg
import httpx

from libs.common.db.embedded import EmbeddedPostgres
from tests.bench import machine
from tests.bench.events import Book, book
from tests.bench.ingest import check_ledger, require
from tests.bench.loading import post_all
from tests.bench.measuring import Measured, Stopwatch, fine, whole
from tests.bench.stack import Stack
from tests.support.apart import DUNWELL, Apart
from tests.support.kafka import free_port

LINES = 500
NDJSON, ONE = "application/x-ndjson", "application/cloudevents+json"
BATCHES_AT_ONCE, SINGLES_AT_ONCE = 4, 32
WITHIN_S = 120.0
SETTLE_S, REST_S = 3.0, 5.0

Followed = Callable[[int], Awaitable[None]]
"""Returns when so many more events have taken effect: that cost belongs to their own row, not to the next one."""


async def run(stack: Stack, events: int, few: int) -> list[str]:
    """Post batches and single events to both, and return the figures."""
    return [*await _embedded(stack.folder / "embedded", events, few), *await _on_kafka(stack, events, few)]


async def _embedded(folder: Path, events: int, few: int) -> list[str]:
    """The 202 comes when the facts that follow have reached every consumer."""
    port = free_port()
    words = ["up", "--port", str(port), "--data", str(folder)]
    process = _started(*words)
    try:
        await _ready(f"http://127.0.0.1:{port}/readyz")
        # the server that the program started: this process only joins it for the check
        server = EmbeddedPostgres(folder / "postgres")
        trees = {"dunwell": process.pid, "postgres": _postmaster(folder)}
        address, key = f"http://127.0.0.1:{port}/ingest/v1/events", "dunwell-dev"
        lines = await _both(address, key, trees, (events, few), "one process")
        await _checked(server.url("dunwell"), events, few)
    finally:
        process.terminate()
        process.wait(60)
    await server.stop()
    return lines


async def _on_kafka(stack: Stack, events: int, few: int) -> list[str]:
    """The 202 comes when the broker has the events; the ledger ingests them meanwhile."""
    async with stack.database() as url:
        apart = Apart(url, stack.broker.bootstrap, stack.folder / "apart", partitions=12)
        apart.prepare()
        apart.start("ingest")
        try:
            await taken_in(url, stack.put_so_far)
            trees = {"ingest": apart.processes["ingest"].pid, **stack.trees}

            async def ledger_has(number: int) -> None:
                stack.put_so_far += number
                await taken_in(url, stack.put_so_far)

            lines = await _both(f"{apart.url('ingest')}/v1/events", apart.key, trees, (events, few), "Kafka", followed=ledger_has)
        finally:
            apart.stop()
    return lines


async def _both(  # what is posted where, and which other processes work on it
    address: str, key: str, trees: dict[str, int], sizes: tuple[int, int], where: str, *, followed: Followed | None = None
) -> list[str]:
    lines = [await _at_rest(trees, where)]
    for kind, name, per_body, at_once, events in (
        (NDJSON, f"{LINES} events a POST", LINES, BATCHES_AT_ONCE, book(sizes[0], prefix="N")),
        (ONE, "one event a POST", 1, SINGLES_AT_ONCE, book(sizes[1], prefix="S")),
    ):
        headers = {"Authorization": f"Bearer {key}", "Content-Type": kind}
        before = _compiling_s(trees)
        watch = Stopwatch(trees)
        found = await _posted(address, events, headers, watch, per_body=per_body, at_once=at_once)
        lines.append(
            f"  {where + ', ' + name:<32} {whole(found.rate)} events/s, {fine(found.cpu_ms)} ms of CPU an event ({found.cpu_parts} us)"
        )
        if followed is not None:
            await followed(found.items)
            found = watch.stop(found.items)
            lines[-1] += f"; {fine(found.cpu_ms)} until the ledger has them ({found.cpu_parts} us)"
        lines[-1] += f", of which the broker's compiler {(_compiling_s(trees) - before) * 1e6 / found.items:.0f} us"
    return lines


def _compiling_s(trees: dict[str, int]) -> float:
    return machine.compiling_s(trees["broker"]) if "broker" in trees else 0.0


async def _at_rest(trees: dict[str, int], where: str) -> str:
    """Report what the processes use while nothing arrives: it is in every figure below, and more per event the fewer events arrive."""
    await asyncio.sleep(SETTLE_S)
    watch = Stopwatch(trees)
    await asyncio.sleep(REST_S)
    found = watch.stop(round(REST_S))
    return f"  {where + ', at rest':<32} {fine(found.cpu_ms)} ms of CPU a second ({found.cpu_parts} us)"


async def _posted(  # what is posted, and how
    address: str, events: Book, headers: dict[str, str], watch: Stopwatch, *, per_body: int, at_once: int
) -> Measured:
    bodies = _bodies([sent.structured for sent in events.events], per_body)
    await post_all(address, bodies, headers=headers, at_once=at_once)
    return watch.stop(len(events.events))


def _bodies(documents: Sequence[bytes], per_body: int) -> list[bytes]:
    return [b"\n".join(documents[at : at + per_body]) for at in range(0, len(documents), per_body)]


async def _checked(url: str, events: int, few: int) -> None:
    """Compare the ledger with both books."""
    one, two = book(events), book(few)
    both = Book(
        one.events + two.events, one.loans + two.loans, one.scheduled + two.scheduled, one.paid + two.paid,
        one.overdue_loans + two.overdue_loans,
    )  # fmt: skip
    await check_ledger(url, both)


async def taken_in(url: str, events: int, *, within_s: float = WITHIN_S) -> None:
    """Wait until the ledger has so many events; more or fewer at the end are an error."""
    conn = await asyncpg.connect(url)
    try:
        async with asyncio.timeout(within_s):
            while (found := await conn.fetchval("select count(*) from ingest.events")) < events:  # noqa: ASYNC110  # nothing tells it
                await asyncio.sleep(0.2)
        require("the ledger", found, events)
    finally:
        await conn.close()


async def _ready(url: str) -> None:
    end = time.monotonic() + WITHIN_S
    async with httpx.AsyncClient() as client:
        while time.monotonic() < end:
            try:
                if (await client.get(url)).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)
    raise RuntimeError("the program is not ready")


def _started(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*DUNWELL, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _postmaster(folder: Path) -> int:
    return int((folder / "postgres" / "postmaster.pid").read_text().split()[0])
