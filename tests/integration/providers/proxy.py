"""A proxy between a client and a real server: it cuts, resets, holds or delays connections after so many bytes of either direction."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from tests.integration.providers.cutting import reset

PART = 65_536


@dataclass(frozen=True)
class Cut:
    """What befalls one connection; None of a direction lets all of it through."""

    request: int | None = None
    answer: int | None = None
    reset: bool = False
    """End it with a reset, by which the client may lose what it has not read yet."""
    held: bool = False
    """Let nothing more through, in the place of an end."""
    delay_s: float = 0.0
    """How much later each part of an answer comes."""


WHOLE = Cut()


@dataclass
class Proxy:
    """Passes so many bytes of the client, or of the server, and then ends the connection for the client.

    The server may finish what it has read: the connection to it is half closed and read to its end, so that after `served` nothing changes.
    """

    server: int
    request: int | None = None
    answer: int | None = None
    every: bool = False
    """Cut every connection, not only the first."""
    plan: Callable[[int], Cut] | None = None
    """Says by its number what befalls each connection, in the place of the three before."""
    port: int = 0
    connections: int = 0
    requested: int = 0
    answered: int = 0
    ending: int = 0
    """Connections that have ended for the client, while the server may still be at work."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _clients: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        """Whether every connection has ended."""
        return all(task.done() for task in self._tasks)

    def drop(self) -> None:
        """End all connections now."""
        for client in self._clients:
            client.transport.abort()

    async def served(self, within_s: float = 20) -> None:
        """Wait until the server has done whatever it will do."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        cut = self._cut(self.connections)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._clients.append(writer)
        to_server = await asyncio.open_connection("127.0.0.1", self.server)
        forth = asyncio.create_task(self._forth(reader, to_server[1], cut.request))
        back = asyncio.create_task(self._back(to_server[0], writer, cut))
        await asyncio.wait({forth, back}, return_when=asyncio.FIRST_COMPLETED)
        if cut.held:
            await asyncio.wait({forth})
            await self._until_left(reader)
        self.ending += 1
        if cut.reset:
            reset(writer)
        else:
            writer.transport.abort()
        forth.cancel()
        await asyncio.wait({forth})
        with suppress(OSError):
            if to_server[1].can_write_eof():
                to_server[1].write_eof()
        back.cancel()
        await asyncio.wait({back})
        with suppress(OSError):
            while await to_server[0].read(PART):
                pass
        to_server[1].close()
        self.ending -= 1

    def _cut(self, number: int) -> Cut:
        if self.plan is not None:
            return self.plan(number)
        return Cut(self.request, self.answer) if self.every or number == 1 else WHOLE

    async def _until_left(self, reader: asyncio.StreamReader) -> None:
        """Wait until the client has given up; what it still says is lost."""
        with suppress(OSError):
            while await reader.read(PART):
                pass

    async def _forth(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int | None) -> None:
        with suppress(OSError):
            left = limit
            while left is None or left > 0:
                part = await reader.read(PART if left is None else left)
                if not part:
                    return
                self.requested += len(part)
                left = None if left is None else left - len(part)
                writer.write(part)
                await writer.drain()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: Cut) -> None:
        with suppress(OSError):
            left = cut.answer
            while left is None or left > 0:
                part = await reader.read(PART)
                if not part:
                    return
                await asyncio.sleep(cut.delay_s)
                kept = part if left is None else part[:left]
                self.answered += len(kept)
                left = None if left is None else left - len(kept)
                writer.write(kept)
                await writer.drain()


@asynccontextmanager
async def proxied(proxy: Proxy, context: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    """Listen, over TLS where there is a context, until the end of the block; after it the server has done whatever it will do."""
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=context)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.served()
