"""Identifiers: derived where a repeat must be the same thing, random and ordered by time elsewhere."""

from __future__ import annotations

import hashlib
import secrets
import time

_SEPARATOR = "\x1f"
"""Not allowed in an id, so that two different lists of parts never derive the same id."""


def derived(prefix: str, *parts: object) -> str:
    """Return the id that these parts always give: 100 bits, `prefix-` and 20 characters of base 32."""
    text = _SEPARATOR.join(str(part) for part in parts)
    digest = hashlib.blake2b(text.encode(), digest_size=13, person=prefix.encode()[:16]).digest()
    number = int.from_bytes(digest) >> 4
    return f"{prefix}-{_base32(number)}"


def fresh() -> str:
    """Return a new UUIDv7: later ones sort after earlier ones, which keeps index pages together."""
    millis = time.time_ns() // 1_000_000
    chance = secrets.randbits(74)
    value = (millis & (1 << 48) - 1) << 80 | 0x7 << 76 | (chance >> 62) << 64 | 0b10 << 62 | chance & (1 << 62) - 1
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
_SHIFTS = tuple(range(90, -1, -10))


def _base32(number: int) -> str:
    """Return 100 bits as 20 characters, two at once: every contact and every message has an id of its own."""
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
