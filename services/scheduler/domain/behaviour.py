"""How borrowers are assumed to behave in a simulation: given rates, and draws that depend only on the seed and the case."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

WHOLE = 1_000_000
"""Rates are in parts of this."""
HOUR_S = 3600


def draw(seed: int, *parts: object) -> int:
    """Return a number below `WHOLE`, always the same for this seed and these parts."""
    text = "\x1f".join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) % WHOLE


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Rates in parts of `WHOLE`; what is not given does not happen: nobody pays, every message arrives, tasks stay open."""

    seed: int = 0
    pays_after_contact: int = 0
    pays_within: timedelta = timedelta(days=3)
    cured_by_day: tuple[tuple[int, int], ...] = ()
    """(days past due, share that has paid by then without any contact); both rise."""
    pays_when_due: int = 0
    arrives: Mapping[str, int] = field(default_factory=dict)
    """Share of messages that arrive, by channel; channels not listed always deliver."""
    tasks_take: timedelta | None = None
    """How long a person takes to complete a task; None: never."""

    def pays_after(self, *contact: object) -> timedelta | None:
        """Return how long after a contact this borrower pays because of it; None if they do not."""
        if draw(self.seed, "pays", *contact) >= self.pays_after_contact:
            return None
        span = max(int(self.pays_within.total_seconds()), HOUR_S)
        return timedelta(seconds=HOUR_S + (span - HOUR_S) * draw(self.seed, "when", *contact) // WHOLE)

    def cured_on(self, reached: int, *spell: object) -> int | None:
        """Return the day past due on which this case cures by itself, given that it had not by day `reached`; None: never."""
        table = self.cured_by_day
        before = max((share for day, share in table if day <= reached), default=0)
        if not table or before >= WHOLE:
            return None
        drawn = before + (WHOLE - before) * draw(self.seed, "cure", *spell) // WHOLE
        return next((day for day, share in table if day > reached and drawn < share), None)

    def pays_due(self, *instalment: object) -> bool:
        """Return whether an instalment is paid on its due date."""
        return draw(self.seed, "due", *instalment) < self.pays_when_due

    def reaches(self, channel: str, *contact: object) -> bool:
        """Return whether an accepted message arrives."""
        return draw(self.seed, "arrives", channel, *contact) < self.arrives.get(channel, WHOLE)
