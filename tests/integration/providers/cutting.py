"""A server that cuts the connection where it is told to, and says what it had read until then."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

ANSWER = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n" + b'{"sid": "SM"}'


@dataclass
class Cutter:
    """Reads so many bytes of the request (None: all), answers so many of `answer`, then ends the connection."""

    read: int | None = None
    answer: bytes = ANSWER
    answered: int | None = None
    reset: bool = False
    silent: bool = False
    """Keep the connection and say nothing more, in the place of the end."""
    port: int = 0
    seen: bytearray = field(default_factory=bytearray)
    connections: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def has_whole(self) -> bool:
        """Whether the whole of a request has come, so that it could be acted upon."""
        head, found, body = bytes(self.seen).partition(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
        return bool(found) and len(body) >= length

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while not self.has_whole and (self.read is None or len(self.seen) < self.read):
                part = await reader.read(65536 if self.read is None else self.read - len(self.seen))
                if not part:
                    return
                self.seen += part
            if self.read is None:
                writer.write(self.answer[: self.answered])
                await writer.drain()
            if self.silent:
                await self.released.wait()
        finally:
            self._end(writer)

    def _end(self, writer: asyncio.StreamWriter) -> None:
        if self.reset:
            reset(writer)
        else:
            writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a reset in the place of an end."""
    with suppress(OSError):  # one that has ended already needs none
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def serving(cutter: Cutter) -> AsyncIterator[Cutter]:
    server = await asyncio.start_server(cutter.serve, "127.0.0.1", 0)
    cutter.port = server.sockets[0].getsockname()[1]
    try:
        yield cutter
    finally:
        cutter.released.set()
        server.close()
        await server.wait_closed()


def closed_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])
