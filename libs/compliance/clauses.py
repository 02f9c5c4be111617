"""What rules amount to for one proposed contact: clocks that open and close, and rests that end once."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from libs.common.value import Value
from libs.compliance.holidays import Holidays
from libs.compliance.hours import DAY_MINUTES, Span, WeeklyHours, common, opened
from libs.compliance.vocabulary import Nature, RuleKind

ALWAYS = datetime.min.replace(tzinfo=UTC)
NEVER = datetime.max.replace(tzinfo=UTC)
HORIZON = timedelta(days=400)
FORTNIGHT = timedelta(days=15)
LONGEST_WINDOW = timedelta(days=8)
_DAYS_AHEAD = range(HORIZON.days)


class Life(NamedTuple):
    """The period [since, until) in which a rule is in force."""

    since: datetime = ALWAYS
    until: datetime = NEVER


class Voice(NamedTuple):
    """The rule a clause comes from."""

    rule: str
    nature: Nature
    cite: str
    kind: RuleKind


class Rest(Value, frozen=True):
    """Nothing passes while it is in force."""

    voice: Voice
    life: Life

    def blocked(self, at: datetime) -> datetime | None:
        """Return the first later moment this clause allows, `NEVER` when none is known, None when it allows the contact now."""
        return self.life.until if self.life.since <= at < self.life.until else None

    def holds_until(self, at: datetime) -> datetime:
        """Return the moment until which a clause that allows the contact now keeps allowing it."""
        return self.life.since if at < self.life.since else NEVER


class Clock(Value, frozen=True):
    """Contacts pass only in the open hours of one zone; a steady clock (no holidays, no clock changes) repeats every week."""

    voice: Voice
    zone: ZoneInfo
    hours: WeeklyHours
    holidays: Holidays | None
    life: Life
    steady: bool = False

    def blocked(self, at: datetime) -> datetime | None:
        """Return the first later moment this clause allows, `NEVER` when none is known, None when it allows the contact now."""
        if not self.life.since <= at < self.life.until:
            return None
        today = at.astimezone(self.zone).date()
        for step in _DAYS_AHEAD:
            day = today + timedelta(days=step) if step else today
            for _, opens, closes in self._open(day):
                if at < closes:
                    return None if opens <= at else min(opens, self.life.until)
        return self.life.until

    def holds_until(self, at: datetime) -> datetime:
        """Return the moment until which a clause that allows the contact now keeps allowing it, joining adjacent days."""
        if at < self.life.since:
            return self.life.since
        if at >= self.life.until:
            return NEVER
        end = at
        while end < at + LONGEST_WINDOW:
            day = end.astimezone(self.zone).date()
            current = next(((span, closes) for span, opens, closes in self._open(day) if opens <= end < closes), None)
            if current is None:
                return end
            end = current[1]
            if current[0].closes < DAY_MINUTES:
                return end
        return end

    def _open(self, day: date) -> Iterator[tuple[Span, datetime, datetime]]:
        for span in self._spans(day):
            opens, closes = opened(span, day, self.zone)
            if opens < closes:
                yield span, opens, closes

    def _spans(self, day: date) -> tuple[Span, ...]:
        weekly = self.hours.days[day.weekday()]
        if self.holidays is None or self.hours.holiday is None:
            return weekly
        if day in self.holidays.days:
            return self.hours.holiday
        return weekly if self.holidays.knows(day) else common(weekly, self.hours.holiday)


Clause = Clock | Rest


def search(clauses: tuple[Clause, ...], at: datetime) -> datetime | None:
    """Return the earliest moment from `at` on that every clause allows, None when no such moment is known.

    Each step jumps to the moment a refusing clause names; that clause allows nothing before it, so no allowed moment is skipped.
    The search ends 400 days after the last rest, or after two weeks in which only steady clocks refused: they always will.
    """
    moment = rested = unsteady = at
    while moment <= rested + HORIZON and moment <= unsteady + FORTNIGHT:
        further = moment
        for clause in clauses:
            until = clause.blocked(further)
            if until is None:
                continue
            if until == NEVER:
                return None
            further = until
            match clause:
                case Rest():
                    rested, unsteady = max(rested, until), max(unsteady, until)
                case Clock(steady=False):
                    unsteady = max(unsteady, until)
        if further == moment:
            return moment
        moment = further
    return None
