"""Contacts by mail over a relay on loopback, with and without PIPELINING; beside it a bare loop that writes the same bytes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.bench import contacts, side_by_side, wire
from tests.bench.ingest import require
from tests.bench.measuring import Measured, Stopwatch, WorkerProcess
from tests.bench.stack import Stack

CONNECTIONS = 10
_FROM = "dunning@lender.example"


@dataclass
class Sink:
    """A relay's process."""

    worker: WorkerProcess
    port: int

    @property
    def account(self) -> dict[str, object]:
        """Return the account that uses it."""
        settings = {
            "host": "127.0.0.1",
            "port": str(self.port),
            "tls": "none",
            "from": f"Lender <{_FROM}>",
            "connections": str(CONNECTIONS),
        }
        return {"kind": "smtp", "settings": settings}

    def took(self) -> tuple[int, int]:
        """Return how many mails arrived since the last call, and for how many addresses."""
        self.worker.say("count")
        mails, addresses = self.worker.wait_for("took").split()
        return int(mails), int(addresses)

    def last(self) -> bytes:
        """Return the text of the last mail as it arrived, without its final dot."""
        self.worker.say("last")
        return base64.b64decode(self.worker.wait_for("last"))


async def run(stack: Stack, count: int, rounds: int) -> list[str]:
    """Measure all three in turn and return the figures; a first round of ours provides the bytes."""
    with _sink("pipelining") as pipelining, _sink("plain") as plain:
        await _ours(stack, pipelining, min(count, 100), 1)
        text = pipelining.last()
        limit: list[Measured] = []
        ways = {
            "ours": (pipelining, 1), "ours, plain": (plain, 1), f"ours, {side_by_side.PROCESSES}": (pipelining, side_by_side.PROCESSES),
        }  # fmt: skip
        ours: dict[str, list[Measured]] = {name: [] for name in ways}
        for _ in range(rounds):
            limit.append(await _bare(pipelining, count, text))
            for name, (sink, processes) in ways.items():
                ours[name].append(await _ours(stack, sink, count, processes))
    lines = [wire.line(name, found, "mails") for name, found in (("bare loop", limit), *ours.items())]
    lines.append(f"  a mail is {len(text):,} bytes; plain: PIPELINING is not offered")
    return lines + [wire.compared(name, found, limit) for name, found in ours.items()]


async def _ours(stack: Stack, sink: Sink, count: int, processes: int) -> Measured:
    """Make so many mails due, and measure until their outcomes are recorded."""
    async with stack.database("notifier") as url, contacts.world(url, place="CN", fakes=True, channel="email") as world:
        await wire.through(world, sink.account, "email")
        await contacts.fill(world, count)
        result = await side_by_side.sent(stack, world, url, count, processes=processes, beside={"sink": sink.worker.process.pid})
        require("the contacts", await contacts.recorded(world, "sent"), (count, count, 0))
        require("the mails", sink.took(), (count, count))
    return result


async def _bare(sink: Sink, count: int, text: bytes) -> Measured:
    """Write the same mails over as many connections: a text, its dot and the next envelope in one write."""
    shares = [range(first, count, CONNECTIONS) for first in range(CONNECTIONS)]
    watch = Stopwatch({"client": os.getpid(), "sink": sink.worker.process.pid}, alone=[os.getpid()])
    await asyncio.gather(*(_connection(sink.port, share, text) for share in shares))
    result = watch.stop(count)
    require("the mails", sink.took(), (count, count))
    return result


async def _connection(port: int, numbers: Sequence[int], text: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    writer.write(b"EHLO bench\r\n")
    while (await reader.readline())[3:4] == b"-":
        pass
    writer.write(_envelope(numbers[0]))
    for number in numbers:
        await _answers(reader, 3, b"354")
        writer.write(text + b"\r\n.\r\n" + (_envelope(number + CONNECTIONS) if number != numbers[-1] else b"QUIT\r\n"))
        await _answers(reader, 1, b"250")
    writer.close()
    await writer.wait_closed()


async def _answers(reader: asyncio.StreamReader, lines: int, last: bytes) -> None:
    for _ in range(lines):
        answer = await reader.readline()
    require("an answer", answer[:3], last)


def _envelope(number: int) -> bytes:
    return f"MAIL FROM:<{_FROM}>\r\nRCPT TO:<b{number:06d}@borrower.example>\r\nDATA\r\n".encode()


@contextlib.contextmanager
def _sink(offers: str) -> Iterator[Sink]:
    worker = WorkerProcess("sink", offers)
    try:
        yield Sink(worker, int(worker.wait_for("listens")))
    finally:
        worker.end()
