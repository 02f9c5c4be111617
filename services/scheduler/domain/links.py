"""Links to the borrower's page: who holds one is let in by the end of a phone number, a few times, for a while."""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

LASTS = timedelta(days=30)
"""A link ends with the spell in which it was made, and after this time."""
TRIES = 5
"""So often the second factor may be wrong in a row; then the link is closed for good, and of messages all that the borrower has."""
VISIT = timedelta(minutes=30)
"""So long what the second factor has opened stays open."""
ACTS_AN_HOUR = 60
DIGITS = 4
_FORM_BYTES = 16


class Standing(StrEnum):
    """What a link is at a moment."""

    OPEN = "open"
    LOCKED = "locked"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Link:
    """A link as it is kept: the token is known by its hash alone."""

    token_hash: bytes
    tenant: str
    borrower_id: str
    link_id: str
    expires_at: datetime
    revoked_at: datetime | None
    tries: int
    in_spell: bool
    """Whether a spell in which it was made still lasts."""
    task_id: str | None = None
    """Of the message that carried it; None of one that was made by itself."""
    case_id: str | None = None
    spell: int | None = None
    step: str | None = None
    visit_hash: bytes | None = None
    visit_until: datetime | None = None

    def standing(self, now: datetime) -> Standing:
        """Return what the link is."""
        if self.revoked_at is not None or now >= self.expires_at or not self.in_spell:
            return Standing.GONE
        return Standing.LOCKED if self.tries >= TRIES else Standing.OPEN

    def is_of(self, token: str) -> bool:
        """Say whether this is the link of a token; how long that takes tells nothing."""
        return hmac.compare_digest(self.token_hash, hashed(token))

    def visited_with(self, visit: str, now: datetime) -> bool:
        """Say whether this is the visit that the second factor has opened, and whether it still is."""
        if self.visit_hash is None or self.visit_until is None or now >= self.visit_until:
            return False
        return hmac.compare_digest(self.visit_hash, hashed(visit))


def hashed(secret: str) -> bytes:
    """Return what is kept of a token, or of a visit: both are random and long, so that a plain hash is enough."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def form_key(token: str, visit: str) -> str:
    """Return what every form of a page carries: only who was shown a page of this link, in this visit, can know it."""
    return hmac.new(token.encode("utf-8", "surrogatepass"), f"form/{visit}".encode("utf-8", "surrogatepass"), "sha256").hexdigest()[
        : 2 * _FORM_BYTES
    ]


def is_form_key(shown: str, token: str, visit: str) -> bool:
    """Say whether a form was made by us for this link and visit."""
    return hmac.compare_digest(shown.encode("utf-8", "surrogatepass"), form_key(token, visit).encode())


def digits_of(typed: str) -> str | None:
    """Return the four digits that somebody has typed, in whichever script; None where it is anything else."""
    kept = [char for char in typed if not char.isspace()]
    found = [unicodedata.decimal(char, None) for char in kept]
    return "".join(str(digit) for digit in found) if len(found) == DIGITS and None not in found else None
