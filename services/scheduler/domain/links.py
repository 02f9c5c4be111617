"""Links to the borrower's page: the holder gets in with the last digits of a phone number, within a few tries, for a while."""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

LASTS = timedelta(days=30)
"""A link ends with the spell in which it was made, and at the latest after this time."""
TRIES = 5
"""Wrong second factors allowed in a row; then the link is closed for good, or, for links in messages, all the borrower's links."""
VISIT = timedelta(minutes=30)
"""How long a visit opened by the second factor lasts."""
ACTS_AN_HOUR = 60
DIGITS = 4
_FORM_BYTES = 16


class Standing(StrEnum):
    """The state of a link at a moment."""

    OPEN = "open"
    LOCKED = "locked"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Link:
    """A link as stored: only the hash of its token is kept."""

    token_hash: bytes
    tenant: str
    borrower_id: str
    link_id: str
    expires_at: datetime
    revoked_at: datetime | None
    tries: int
    in_spell: bool
    """Whether a spell in which it was made is still running."""
    task_id: str | None = None
    """The message that carried it; None for a link made on its own."""
    case_id: str | None = None
    spell: int | None = None
    step: str | None = None
    visit_hash: bytes | None = None
    visit_until: datetime | None = None

    def standing(self, now: datetime) -> Standing:
        """Return the state of the link."""
        if self.revoked_at is not None or now >= self.expires_at or not self.in_spell:
            return Standing.GONE
        return Standing.LOCKED if self.tries >= TRIES else Standing.OPEN

    def is_of(self, token: str) -> bool:
        """Return whether this is the link of a token, in constant time."""
        return hmac.compare_digest(self.token_hash, hashed(token))

    def visited_with(self, visit: str, now: datetime) -> bool:
        """Return whether this is the visit opened by the second factor, and whether it is still open."""
        if self.visit_hash is None or self.visit_until is None or now >= self.visit_until:
            return False
        return hmac.compare_digest(self.visit_hash, hashed(visit))


def hashed(secret: str) -> bytes:
    """Return the hash that is stored of a token or visit: both are long and random, so a plain hash is enough."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def form_key(token: str, visit: str) -> str:
    """Return the key every form of a page carries: only somebody shown a page of this link, in this visit, can know it."""
    return hmac.new(token.encode("utf-8", "surrogatepass"), f"form/{visit}".encode("utf-8", "surrogatepass"), "sha256").hexdigest()[
        : 2 * _FORM_BYTES
    ]


def is_form_key(shown: str, token: str, visit: str) -> bool:
    """Return whether we made this form for this link and visit."""
    return hmac.compare_digest(shown.encode("utf-8", "surrogatepass"), form_key(token, visit).encode())


def digits_of(typed: str) -> str | None:
    """Return the four digits somebody typed, in any script; None if it is anything else."""
    kept = [char for char in typed if not char.isspace()]
    found = [unicodedata.decimal(char, None) for char in kept]
    return "".join(str(digit) for digit in found) if len(found) == DIGITS and None not in found else None
