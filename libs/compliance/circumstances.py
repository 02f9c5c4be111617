"""What the gate is given: the proposed contact and everything known about the borrower at that moment."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from types import MappingProxyType
from typing import Any

from libs.common.value import Value, field
from libs.compliance.content import Text
from libs.compliance.hours import DAY_MINUTES, WHOLE_DAY, Span, WeeklyHours, parse_days, parse_minute, parse_week, without
from libs.compliance.vocabulary import Channel, Profile, Purpose, Role, StopContacts, StopKind, StopScope

_CONSENT_ALSO_BY = {"reminder": ("reminder", "dunning")}
"""Consent to dunning holds for reminders."""


def consents_to(purpose: str) -> tuple[str, ...]:
    """Return the purposes for which a consent also covers a contact of this purpose."""
    return _CONSENT_ALSO_BY.get(purpose, (purpose,))


def taken_back(withdrawn: Iterable[tuple[str, str]], purpose: str, given: Collection[Channel]) -> frozenset[Channel]:
    """Return the channels on which the borrower withdrew consent to a purpose: nothing goes there, even where no rule requires consent."""
    of = consents_to(purpose)
    return frozenset(Channel(channel) for channel, about in withdrawn if about in of) - frozenset(given)


class Stop(Value, frozen=True):
    """A stop in force during [since, until), or until the promised date has passed; with neither it has no known end.

    A debt or channel of None means all of them.
    """

    kind: StopKind
    scope: StopScope
    since: datetime
    until: datetime | None
    channel: str | None = None
    debt: str | None = None
    contacts: StopContacts | None = None
    promised_on: date | None = None


class Prior(Value, frozen=True):
    """An earlier contact, by anyone; an empty result means unknown, and counts."""

    at: datetime
    channel: Channel
    result: str
    debts: tuple[str, ...]
    by: str
    direction: str = "outbound"
    to: str | None = None
    kind: str | None = None
    of_another: bool = False
    """Whether it was made to another owner of the same number: it counts in caps per number, and in no others."""


class Proposed(Value, frozen=True):
    """The contact asked about; without debts it counts against every debt."""

    at: datetime
    channel: Channel
    purpose: Purpose
    debts: tuple[str, ...] = ()
    to: str | None = None
    addressee: str = "debtor"
    content: Text | None = None
    """The text as its reader will see it; None is not judged."""


class DebtFacts(Value, frozen=True):
    """What the conditions of rules need to know about a debt, as of the proposed moment; None is unknown."""

    past_due_days: int | None = None
    principal: int | None = None
    product: str | None = None
    due_on: date | None = None


class Preferences(Value, frozen=True):
    """The borrower's wishes, which can only restrict: the hours still open to us and the channels that are not."""

    hours: WeeklyHours | None = None
    no_channels: frozenset[Channel] = frozenset()

    @classmethod
    def parse(cls, wishes: Mapping[str, Any]) -> "Preferences":
        """Read `{"no_contact": [{"days": ["mon"], "from": "11:00", "to": "18:00"}], "no_channels": ["sms"]}`."""
        days: list[tuple[Span, ...]] = [WHOLE_DAY] * 7
        for wish in wishes.get("no_contact", ()):
            named = wish.get("days") or ["every"]
            for day in frozenset[int]().union(*map(parse_days, named)):
                for step, quiet in _quiet(wish.get("from", "00:00"), wish.get("to", "24:00")):
                    days[(day + step) % 7] = without(days[(day + step) % 7], quiet)
        hours = WeeklyHours(tuple(days)) if wishes.get("no_contact") else None
        return cls(hours, frozenset(Channel(name) for name in wishes.get("no_channels", ())))


class TenantHours(Value, frozen=True):
    """The contact hours the tenant sets for itself, in the borrower's zones."""

    hours: WeeklyHours

    @classmethod
    def parse(cls, rows: Mapping[str, str]) -> "TenantHours":
        """Read `{"mon-sat": "08:00-20:00"}`; a day not named is closed."""
        return cls(parse_week(rows))


class Circumstances(Value, frozen=True):
    """Everything known; zones None: unknown; consents None: not asked about, otherwise the complete set."""

    jurisdictions: tuple[str, ...]
    zones: tuple[str, ...] | None
    profile: Profile
    role: Role
    consents: frozenset[Channel] | None
    preferences: Preferences
    tenant_hours: TenantHours | None
    stops: tuple[Stop, ...]
    prior: tuple[Prior, ...]
    debt_facts: Mapping[str, DebtFacts] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class StopRule:
    """A row of the table of stops: how far the stop reaches, what it still allows, and the purposes that pass when it allows some."""

    scope: StopScope
    contacts: StopContacts
    passes: frozenset[Purpose]


def _row(scope: StopScope, *passes: Purpose) -> StopRule:
    return StopRule(scope, StopContacts.LIMITED if passes else StopContacts.NONE, frozenset(passes))


_NOTICE, _ANSWER, _CONFIRMATION = Purpose.NOTICE, Purpose.ANSWER, Purpose.CONFIRMATION

STOPS: Mapping[StopKind, StopRule] = MappingProxyType(
    {
        StopKind.DECEASED: _row(StopScope.PERSON),
        StopKind.INSOLVENT: _row(StopScope.PERSON, _NOTICE, _ANSWER, _CONFIRMATION),
        StopKind.REPRESENTED: _row(StopScope.PERSON, _CONFIRMATION),
        StopKind.HARDSHIP: _row(StopScope.PERSON, _NOTICE, _ANSWER, _CONFIRMATION),
        StopKind.VULNERABLE: _row(StopScope.PERSON, _NOTICE, _ANSWER, _CONFIRMATION),
        StopKind.MORATORIUM: _row(StopScope.PERSON, _NOTICE, _ANSWER, _CONFIRMATION),
        StopKind.CEASE: _row(StopScope.PERSON, _NOTICE, _CONFIRMATION),
        StopKind.FRAUD_VICTIM: _row(StopScope.DEBT, _ANSWER, _CONFIRMATION),
        StopKind.BEREAVEMENT: _row(StopScope.PERSON, _NOTICE, _ANSWER, _CONFIRMATION),
        StopKind.TIME_BARRED: _row(StopScope.DEBT, _ANSWER, _CONFIRMATION),
        StopKind.OPT_OUT: _row(StopScope.CHANNEL, _CONFIRMATION),
        StopKind.OBJECTION: _row(StopScope.PERSON, _NOTICE, _ANSWER, _CONFIRMATION),
        StopKind.DISPUTE: _row(StopScope.DEBT, _NOTICE, _ANSWER, _CONFIRMATION),
        StopKind.COMPLAINT: _row(StopScope.PERSON, _NOTICE, _ANSWER, _CONFIRMATION),
        StopKind.PROMISE: _row(StopScope.DEBT, _NOTICE, _ANSWER, _CONFIRMATION),
        StopKind.IN_DOUBT: _row(StopScope.DEBT, _ANSWER, _CONFIRMATION),
        StopKind.MANUAL: _row(StopScope.PERSON, _NOTICE, _ANSWER, _CONFIRMATION),
    }
)


def _quiet(begins: str, ends: str) -> tuple[tuple[int, Span], ...]:
    """Return the parts of a quiet period, each with its day offset; one that ends before it begins runs past midnight."""
    start, end = parse_minute(begins), parse_minute(ends)
    if start < end:
        return ((0, Span(start, end)),)
    parts = ((0, Span(start, DAY_MINUTES)),)
    return (*parts, (1, Span(0, end))) if end else parts
