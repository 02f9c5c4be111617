"""Places in a feed: a number that counts from 1 in each tenant's topic without a gap, and the epoch in which it was given."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WRITTEN = re.compile(r"([0-9]{4})-([0-9]{15})")


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """The place behind the message of this number."""

    epoch: int
    number: int

    @property
    def text(self) -> str:
        """Return it as readers keep it: later ones sort after earlier ones, as CloudEvents asks of a `sequence`."""
        return f"{self.epoch:04}-{self.number:015}"

    @classmethod
    def read(cls, text: str) -> Cursor | None:
        """Return the cursor of a text, or None where it is none of ours."""
        found = _WRITTEN.fullmatch(text)
        return cls(int(found[1]), int(found[2])) if found else None


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a feed goes: numbers above `begins`, up to `ends`, given in this epoch and earlier ones."""

    epoch: int
    begins: int
    ends: int
    known: int | None = None
    """The last number that an asked epoch gave, where that is an earlier one; what came behind it then is gone from this database."""


def place(after: Cursor | None, standing: Standing) -> int | None:
    """Return the number behind which to read on; None where what comes next is no longer kept.

    After a restore numbers are given again, to other messages: a cursor of an earlier epoch leads back to the last number that this
    database knows of it, so that what was said anew is not skipped.
    """
    if after is None:
        return standing.begins
    number = min(after.number, standing.ends)
    if after.epoch < standing.epoch:
        number = min(number, standing.begins if standing.known is None else standing.known)
    return number if number >= standing.begins else None
