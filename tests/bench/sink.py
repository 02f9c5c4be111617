"""A mail server on loopback in a separate process, which accepts everything at once: `python -m tests.bench.sink pipelining|plain`."""

from __future__ import annotations

import asyncio
import base64
import sys
from dataclasses import dataclass, field
from typing import cast

import uvloop

from tests.bench.counting import until_the_input_ends

OFFERS = {"pipelining": b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n", "plain": b"250-sink\r\n250 8BITMIME\r\n"}
END = b"\r\n.\r\n"


@dataclass
class Taken:
    """What arrived: the address of each mail, and the last one's text."""

    to: list[str] = field(default_factory=list)
    last: bytes = b""


class Sink(asyncio.Protocol):
    """One connection."""

    def __init__(self, hello: bytes, taken: Taken) -> None:
        self._hello, self._taken = hello, taken
        self._read, self._to, self._in_text = b"", "", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        """Answer every complete command and text, in one write."""
        self._read += data
        said = b""
        while (end := self._read.find(END if self._in_text else b"\r\n")) >= 0:
            part, self._read = self._read[:end], self._read[end + (len(END) if self._in_text else 2) :]
            said += self._text(part) if self._in_text else self._command(part)
        if said:
            self._transport.write(said)

    def _text(self, text: bytes) -> bytes:
        self._in_text, self._taken.last = False, text
        self._taken.to.append(self._to)
        return b"250 2.0.0 queued\r\n"

    def _command(self, line: bytes) -> bytes:
        word = line[:4].upper()
        if word == b"RCPT":
            self._to = line.decode()
        if word == b"DATA":
            self._in_text = True
            return b"354 go on\r\n"
        return {b"EHLO": self._hello, b"QUIT": b"221 2.0.0 bye\r\n"}.get(word, b"250 2.0.0 ok\r\n")


async def serve(offers: str) -> None:
    """Listen until standard input ends; `last` on it asks for the text of the last mail."""
    taken = Taken()
    server = await asyncio.get_running_loop().create_server(lambda: Sink(OFFERS[offers], taken), "127.0.0.1", 0, backlog=1024)
    print(f"listens {server.sockets[0].getsockname()[1]}", flush=True)
    await until_the_input_ends(taken.to, {"last": lambda: base64.b64encode(taken.last).decode()})
    server.close()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
