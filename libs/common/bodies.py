"""Request bodies as they arrive: decompressed if necessary, with limits on size and time."""

from __future__ import annotations

import zlib
from collections.abc import Collection
from dataclasses import dataclass, field

import msgspec
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

from libs.common.errors import NOT_JSON

MOST_BYTES = 16 * 1024 * 1024
"""No route accepts more, and most accept less."""
LATE = "dunwell.late"
"""Set in the scope of a request whose body the server has given up on: its sender has stopped, or trickles."""
_GZIP = 16 + zlib.MAX_WBITS
_CLOSING = {"Connection": "close"}


def unpacked(scope: Scope, receive: Receive) -> Receive:
    """Return a `receive` that decompresses the body; 415 for an encoding that is not supported."""
    coding = b",".join([value for name, value in scope["headers"] if name == b"content-encoding"]).decode("latin-1").strip().lower()
    if coding in ("", "identity"):
        return receive
    if coding != "gzip":
        detail = f"Content-Encoding {coding[:100]} is not supported: send the body uncompressed, or with gzip"
        raise HTTPException(415, detail, {"Accept-Encoding": "gzip", **_CLOSING})
    return _Gzip(receive).receive


def in_time(scope: Scope, receive: Receive) -> Receive:
    """Return a `receive` that gives up a body marked late; the server keeps the time, as a timer per request would slow them all."""

    async def receiving() -> Message:
        message = await receive()
        if LATE in scope and message.get("more_body", False):
            raise HTTPException(408, "the body did not arrive in time: send it all at once, or send less", _CLOSING)
        return message

    return receiving


def bounded(receive: Receive, *, most: int = MOST_BYTES) -> Receive:
    """Return a `receive` that refuses a body of more bytes than this."""
    size = 0

    async def receiving() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > most:
            raise too_large(most)
        return message

    return receiving


def without(body: bytes, names: Collection[str]) -> bytes:
    """Return a JSON object without these members, which only answers have: what was read may be changed and sent back."""
    try:
        given = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except NOT_JSON:
        return body
    return body if given.keys().isdisjoint(names) else msgspec.json.encode({key: part for key, part in given.items() if key not in names})


def too_large(most: int) -> HTTPException:
    """Return the refusal of a body that is too large."""
    return HTTPException(413, f"a body may have {most} bytes here", _CLOSING)


@dataclass(slots=True)
class _Gzip:
    """Decompresses a body part by part; one that would grow too large is given up before it has."""

    packed: Receive
    _left: int = MOST_BYTES
    _stream: zlib._Decompress = field(default_factory=lambda: zlib.decompressobj(_GZIP))

    async def receive(self) -> Message:
        message = await self.packed()
        if message["type"] != "http.request":
            return message
        body = self._unpack(message.get("body", b""))
        if not message.get("more_body", False) and not self._stream.eof:
            raise HTTPException(400, "this is not gzip, or it is incomplete")
        return {**message, "body": body}

    def _unpack(self, part: bytes) -> bytes:
        unpacked = []
        while part:
            if self._stream.eof:  # another gzip member follows
                self._stream = zlib.decompressobj(_GZIP)
            try:
                unpacked.append(self._stream.decompress(part, self._left + 1))
            except zlib.error:
                raise HTTPException(400, "this is not gzip") from None
            self._left -= len(unpacked[-1])
            if self._left < 0:
                raise too_large(MOST_BYTES)
            part = self._stream.unused_data
        return b"".join(unpacked)
