"""Identifiers: derived where a repeat must give the same one, random and ordered by time elsewhere."""

from __future__ import annotations

import hashlib
import secrets
import time
from functools import lru_cache

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_THREES = tuple(pair + third for pair in _PAIRS for third in _ALPHABET)
_CHARS = 20
_DIGITS = {char: value for value, char in enumerate(_ALPHABET)}
_SEPARATOR = "\x1f"
"""Not allowed in an id, so that two different lists of parts never derive the same id."""


def derived(prefix: str, *parts: object) -> str:
    """Return the id that always results from these parts: 100 bits, as `prefix-` and 20 characters of base 32."""
    digest = _begun(prefix).copy()
    digest.update(_SEPARATOR.join([part if type(part) is str else str(part) for part in parts]).encode())
    return numbered(prefix, int.from_bytes(digest.digest()) >> 4)


@lru_cache(maxsize=64)
def _begun(prefix: str) -> hashlib.blake2b:
    """Return the empty digest for this prefix: copying it is cheaper than making another."""
    return hashlib.blake2b(digest_size=13, person=prefix.encode()[:16])


def numbered(prefix: str, number: int) -> str:
    """Return the derived id that is this number of 100 bits."""
    high, low = number >> 50, number & (1 << 50) - 1  # halves, so that the interpreter works with small integers
    return (
        f"{prefix}-{_THREES[high >> 35]}{_THREES[high >> 20 & 32767]}{_THREES[high >> 5 & 32767]}{_THREES[(high & 31) << 10 | low >> 40]}"
        f"{_THREES[low >> 25 & 32767]}{_THREES[low >> 10 & 32767]}{_PAIRS[low & 1023]}"
    )


def number_of(prefix: str, identifier: str) -> int | None:
    """Return the number of a derived id; None for an id that was not derived under this prefix."""
    head, _, said = identifier.partition("-")
    if head != prefix or len(said) != _CHARS or not _DIGITS.keys() >= set(said):
        return None
    number = 0
    for char in said:
        number = number << 5 | _DIGITS[char]
    return number


def fresh() -> str:
    """Return a new UUIDv7: later ones sort after earlier ones, which keeps index writes local."""
    millis = time.time_ns() // 1_000_000
    chance = secrets.randbits(74)
    value = (millis & (1 << 48) - 1) << 80 | 0x7 << 76 | (chance >> 62) << 64 | 0b10 << 62 | chance & (1 << 62) - 1
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
