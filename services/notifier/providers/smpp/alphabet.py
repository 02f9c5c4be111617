"""Texts as the bytes of short messages: the GSM alphabet or UCS-2, with a header if there are several parts (3GPP TS 23.038, 23.040)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from types import MappingProxyType

from services.notifier.domain.segments import Encoding, segments
from services.notifier.providers.wire import UnfitError

TABLE = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
ESCAPE = 0x1B
EXTENSION: Mapping[str, int] = MappingProxyType(
    {"\f": 0x0A, "^": 0x14, "{": 0x28, "}": 0x29, "\\": 0x2F, "[": 0x3C, "~": 0x3D, "]": 0x3E, "|": 0x40, "€": 0x65}
)
GSM, UCS2 = 0, 8
"""Data codings."""
MOST_PARTS = 255
_BASIC = {char: bytes((at,)) for at, char in enumerate(TABLE) if at != ESCAPE} | {
    char: bytes((ESCAPE, value)) for char, value in EXTENSION.items()
}


def encoded(text: str, about: str) -> tuple[int, list[bytes]]:
    """Return the data coding of a text and its parts; if there are several, each starts with a header naming the message."""
    cut = segments(text)
    if len(cut.parts) > MOST_PARTS:
        raise UnfitError("too_long", "content")
    bodies = [gsm(part) if cut.encoding is Encoding.GSM7 else part.encode("utf-16-be", "replace") for part in cut.parts]
    coding = GSM if cut.encoding is Encoding.GSM7 else UCS2
    if len(bodies) == 1:
        return coding, bodies
    reference = zlib.crc32(about.encode()) & 0xFF
    return coding, [bytes((5, 0, 3, reference, len(bodies), at)) + body for at, body in enumerate(bodies, 1)]


def gsm(text: str) -> bytes:
    """Return a text in the GSM alphabet, one octet per septet."""
    return b"".join(_BASIC[char] for char in text)


def read(message: bytes, data_coding: int, *, has_header: bool) -> str:
    """Return what somebody wrote to us, as far as it can be decoded."""
    if has_header and message:
        message = message[1 + message[0] :]
    if data_coding == UCS2:
        return message.decode("utf-16-be", "replace")
    if data_coding != GSM:
        return message.decode("latin-1")
    by_value = {value: char for char, value in EXTENSION.items()}
    said, escaped = "", False
    for value in message:
        if escaped:
            said += by_value.get(value, "?")
        elif value != ESCAPE:
            said += TABLE[value] if value < len(TABLE) else "?"
        escaped = value == ESCAPE and not escaped
    return said
