"""Messages of one row: a row a message would cost the database more than the rest of its way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from libs.common.bus.ports import Message

packed = msgspec.msgpack.Encoder().encode
unpacked = msgspec.msgpack.Decoder(list[Message]).decode


def bundled(messages: Sequence[Message], *, most: int, most_bytes: int) -> Iterator[Sequence[Message]]:
    """Yield the messages in parts, none of which the database finds large."""
    first = size = 0
    for at, message in enumerate(messages):
        size += len(message.value or b"")
        if at > first and (size > most_bytes or at - first == most):
            yield messages[first:at]
            first, size = at, len(message.value or b"")
    if messages:
        yield messages[first:]
