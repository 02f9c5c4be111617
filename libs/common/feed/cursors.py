"""Positions in a feed: a number that counts from 1 in each tenant's topic without gaps, and the epoch in which it was assigned."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WRITTEN = re.compile(r"([0-9]{4})-([0-9]{15})")


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """The position after the message with this number."""

    epoch: int
    number: int

    @property
    def text(self) -> str:
        """Return it as readers keep it: later ones sort after earlier ones, as CloudEvents requires of a `sequence`."""
        return f"{self.epoch:04}-{self.number:015}"

    @classmethod
    def read(cls, text: str) -> Cursor | None:
        """Parse a cursor; None where it is not one of ours."""
        found = _WRITTEN.fullmatch(text)
        return cls(int(found[1]), int(found[2])) if found else None


@dataclass(frozen=True, slots=True)
class Standing:
    """The extent of a feed: numbers above `begins`, up to `ends`, assigned in this epoch and earlier ones."""

    epoch: int
    begins: int
    ends: int
    known: int | None = None
    """The last number of the reader's epoch, where that is an earlier one; what followed it then is gone from this database."""


def place(after: Cursor | None, standing: Standing) -> int | None:
    """Return the number after which to continue reading; None where what comes next is no longer kept.

    After a restore, numbers are assigned again to other messages: a cursor of an earlier epoch leads back to the last number of it
    that this database knows, so that messages published since are not skipped.
    """
    if after is None:
        return standing.begins
    number = min(after.number, standing.ends)
    if after.epoch < standing.epoch:
        number = min(number, standing.begins if standing.known is None else standing.known)
    return number if number >= standing.begins else None
