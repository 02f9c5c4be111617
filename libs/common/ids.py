"""Identifiers: derived where a repeat must be the same thing, random and ordered by time elsewhere."""

from __future__ import annotations

import hashlib
import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_PLACES = tuple(range(90, -1, -10))
"""Of two characters each, the highest first."""
_CHARS = 20
_DIGITS = {char: value for value, char in enumerate(_ALPHABET)}
_SEPARATOR = "\x1f"
"""Not allowed in an id, so that two different lists of parts never derive the same id."""


def derived(prefix: str, *parts: object) -> str:
    """Return the id that these parts always give: 100 bits, `prefix-` and 20 characters of base 32."""
    text = _SEPARATOR.join(str(part) for part in parts)
    digest = hashlib.blake2b(text.encode(), digest_size=13, person=prefix.encode()[:16]).digest()
    return numbered(prefix, int.from_bytes(digest) >> 4)


def numbered(prefix: str, number: int) -> str:
    """Return the derived id that is this number of 100 bits."""
    return f"{prefix}-{''.join([_PAIRS[number >> place & 1023] for place in _PLACES])}"


def number_of(prefix: str, identifier: str) -> int | None:
    """Return the number that a derived id is; None for an id that was not derived under this prefix."""
    head, _, said = identifier.partition("-")
    if head != prefix or len(said) != _CHARS or not _DIGITS.keys() >= set(said):
        return None
    number = 0
    for char in said:
        number = number << 5 | _DIGITS[char]
    return number


def fresh() -> str:
    """Return a new UUIDv7: later ones sort after earlier ones, which keeps index pages together."""
    millis = time.time_ns() // 1_000_000
    chance = secrets.randbits(74)
    value = (millis & (1 << 48) - 1) << 80 | 0x7 << 76 | (chance >> 62) << 64 | 0b10 << 62 | chance & (1 << 62) - 1
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
