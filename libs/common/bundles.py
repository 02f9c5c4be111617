"""Several messages in one row: a row per message would cost the database more than all other handling of the message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from libs.common.bus.ports import Message

packed = msgspec.msgpack.Encoder().encode
unpacked = msgspec.msgpack.Decoder(list[Message]).decode


def bundled(messages: Sequence[Message], *, most: int, most_bytes: int) -> Iterator[Sequence[Message]]:
    """Yield the messages in parts of limited number and size."""
    first = size = 0
    for at, message in enumerate(messages):
        size += len(message.value or b"")
        if at > first and (size > most_bytes or at - first == most):
            yield messages[first:at]
            first, size = at, len(message.value or b"")
    if messages:
        yield messages[first:]
