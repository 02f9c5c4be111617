"""Bodies of requests as they come in: unpacked where they were packed, with an end to their size and their time."""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass, field

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

MOST_BYTES = 16 * 1024 * 1024
"""No route takes more, and most take less."""
PART_WITHIN_S = 30.0
"""Whoever sends nothing for so long, and has not sent all, is not waited for."""
_GZIP = 16 + zlib.MAX_WBITS
_CLOSING = {"Connection": "close"}


def unpacked(scope: Scope, receive: Receive) -> Receive:
    """Return what gives the body as it was before it was packed; 415 where it is packed in a way that is not known here."""
    coding = b",".join([value for name, value in scope["headers"] if name == b"content-encoding"]).decode("latin-1").strip().lower()
    if coding in ("", "identity"):
        return receive
    if coding != "gzip":
        detail = f"Content-Encoding {coding[:100]} is not known here: send the body as it is, or packed with gzip"
        raise HTTPException(415, detail, {"Accept-Encoding": "gzip", **_CLOSING})
    return _Gzip(receive).receive


def bounded(receive: Receive, *, most: int = MOST_BYTES, part_within_s: float = PART_WITHIN_S) -> Receive:
    """Return what gives a body up to so many bytes, each part in time, and refuses any other."""
    size, more = 0, True

    async def receiving() -> Message:
        nonlocal size, more
        if not more:
            return await receive()
        try:
            async with asyncio.timeout(part_within_s):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, f"nothing of the body has come for {part_within_s:.0f} s", _CLOSING) from None
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
        if size > most:
            raise too_large(most)
        return message

    return receiving


def too_large(most: int) -> HTTPException:
    """Return what is said of a body that is larger than what is taken."""
    return HTTPException(413, f"a body may have {most} bytes here", _CLOSING)


@dataclass(slots=True)
class _Gzip:
    """A body that was packed, part by part; one that would grow beyond all bounds is given up before it has."""

    packed: Receive
    _left: int = MOST_BYTES
    _stream: zlib._Decompress = field(default_factory=lambda: zlib.decompressobj(_GZIP))

    async def receive(self) -> Message:
        message = await self.packed()
        if message["type"] != "http.request":
            return message
        body = self._unpack(message.get("body", b""))
        if not message.get("more_body", False) and not self._stream.eof:
            raise HTTPException(400, "this is not packed with gzip, or not all of it has come")
        return {**message, "body": body}

    def _unpack(self, part: bytes) -> bytes:
        unpacked = []
        while part:
            if self._stream.eof:  # what follows is packed by itself, and belongs to it
                self._stream = zlib.decompressobj(_GZIP)
            try:
                unpacked.append(self._stream.decompress(part, self._left + 1))
            except zlib.error:
                raise HTTPException(400, "this is not packed with gzip") from None
            self._left -= len(unpacked[-1])
            if self._left < 0:
                raise too_large(MOST_BYTES)
            part = self._stream.unused_data
        return b"".join(unpacked)
