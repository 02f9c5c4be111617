"""Until when the holidays of the places we contact are known: after that the gate forbids contact there on many days."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta

from prometheus_client import Gauge

from libs.common import logs
from libs.compliance import Packs

WARNED_BEFORE = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Calendars:
    """Exports the end of each pack's holiday calendar, from the first contact decided under that pack."""

    packs: Packs
    ends: Gauge
    _met: set[str] = field(default_factory=set, init=False)

    def note(self, places: Iterable[str], now: datetime) -> None:
        """Note that contacts in these jurisdictions are being decided."""
        for place in set(places) - self._met:
            if (found := self.packs.locate(place)) is not None:
                self._met.add(place)
                self._show(found.pack.id, now)

    def _show(self, pack: str, now: datetime) -> None:
        last = self.packs[pack].holidays_known_to
        if last is None:
            return
        end = datetime.combine(last + timedelta(days=1), time(), UTC)
        self.ends.labels(pack).set(end.timestamp())
        if end - now < WARNED_BEFORE:
            logs.get("notifier").warning("holidays_end", reason=f"{pack}: no holidays are known after {last}")
