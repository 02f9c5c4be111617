"""The messages of the bus, in the structured mode of CloudEvents."""

from __future__ import annotations

from typing import Any

import msgspec

from libs.common.bus.ports import Message
from libs.common.feed.cursors import Cursor

_ATTRIBUTE = "ce_"


def structured(message: Message, at: Cursor) -> dict[str, Any]:
    """Return a message with its attributes, its position in the feed (`sequence`) and its key; one without data is a tombstone."""
    said: dict[str, Any] = {name[3:]: value.decode() for name, value in message.headers if name.startswith(_ATTRIBUTE)}
    said["sequence"] = at.text
    if message.key is not None:
        said["partitionkey"] = message.key.decode(errors="replace")
    if message.value is not None:
        said["datacontenttype"] = "application/json"
        said["data"] = msgspec.Raw(message.value)
    return said
