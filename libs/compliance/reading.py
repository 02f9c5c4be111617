"""Applies rules to one proposed contact: which of them bind, and the clauses they amount to."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import assert_never
from zoneinfo import ZoneInfo

from libs.common.value import Value
from libs.compliance.circumstances import STOPS, Circumstances, Proposed, Stop
from libs.compliance.clauses import ALWAYS, NEVER, Clause, Clock, Life, Rest, Voice
from libs.compliance.content import BASE, faults
from libs.compliance.counters import counter_of, keys_of, noticed
from libs.compliance.hours import WeeklyHours, instant
from libs.compliance.rules import (
    Addressees,
    Ban,
    Cap,
    ChannelLock,
    Consent,
    Content,
    CoolOff,
    Counting,
    Located,
    NoticeFirst,
    Packs,
    PastDue,
    Rule,
    Spacing,
    Terms,
    Window,
)
from libs.compliance.vocabulary import ContentKind, Nature, Profile, Purpose, RuleKind, StopContacts, StopScope

PLACELESS = tuple(f"Etc/GMT{hours:+d}" for hours in range(-14, 13))
"""Every whole UTC offset, +14 to -12: used where nothing is known about the place."""

KINDS: Mapping[type[Rule], RuleKind] = MappingProxyType(
    {
        Window: RuleKind.WINDOW,
        Cap: RuleKind.CAP,
        Spacing: RuleKind.SPACING,
        CoolOff: RuleKind.COOL_OFF,
        ChannelLock: RuleKind.CHANNEL_LOCK,
        Consent: RuleKind.CONSENT,
        Ban: RuleKind.CHANNELS,
        Addressees: RuleKind.ADDRESSEE,
        Content: RuleKind.CONTENT,
        NoticeFirst: RuleKind.NOTICE_FIRST,
    }
)
FLOOR = frozenset({Nature.LAW, Nature.PRESUMPTION})
_FOREVER = Life()
_BORROWER_HOURS = Voice("borrower-hours", Nature.BORROWER, "borrower's wish", RuleKind.PREFERENCE)
_BORROWER_CHANNELS = Voice("borrower-channels", Nature.BORROWER, "borrower's wish", RuleKind.PREFERENCE)
_TENANT_HOURS = Voice("tenant-hours", Nature.TENANT, "tenant hours", RuleKind.TENANT_HOURS)


class Question(Value, frozen=True):
    """One proposed contact in its circumstances, with the places already looked up; zones None is unknown."""

    proposed: Proposed
    circumstances: Circumstances
    at: datetime
    zones: tuple[ZoneInfo, ...] | None
    located: tuple[tuple[str, Located | None], ...]
    packs: Packs

    def zones_of(self, located: Located) -> tuple[ZoneInfo, ...]:
        """Return the zones the borrower may be in under one pack."""
        return self.zones or _places(located.pack.zones or PLACELESS, self.packs)

    def all_zones(self) -> tuple[ZoneInfo, ...]:
        """Return the zones the borrower may be in under any pack."""
        if self.zones:
            return self.zones
        names = {name for _, located in self.located if located for name in located.pack.zones or PLACELESS}
        return _places(tuple(sorted(names or PLACELESS)), self.packs)


def ask(proposed: Proposed, circumstances: Circumstances, packs: Packs) -> Question:
    """Look up the places a question names; a naive moment raises ValueError."""
    if proposed.at.tzinfo is None:
        raise ValueError("the proposed moment has no offset")
    found = [packs.places.find(name) for name in circumstances.zones or ()]
    zones = tuple(zone for zone in found if zone is not None)
    located = tuple((name, packs.locate(name)) for name in circumstances.jurisdictions)
    return Question(
        proposed, circumstances, proposed.at.astimezone(UTC), zones if zones and len(zones) == len(found) else None, located, packs
    )


def clauses(question: Question) -> Iterator[Clause]:
    """Yield the clauses of every rule: of the packs, the stops, the tenant and the borrower."""
    for name, located in question.located:
        if located is None:
            yield _lost(name)
            continue
        zones = question.zones_of(located)
        for rule in located.rules:
            if binds(rule.terms, question):
                yield from _read(rule, question, zones)
    if not question.located:
        yield _lost(None)
    if binds(BASE.terms, question):
        yield from _read(BASE, question, ())
    yield from _stops(question)
    yield from _wishes(question)


def asked_of_content(question: Question) -> frozenset[ContentKind]:
    """Return what the rules that bind now require of the text."""
    bound = [(rule, question.zones_of(located)) for _, located in question.located if located for rule in located.rules]
    asking = [
        rule.asks
        for rule, zones in [(BASE, ()), *bound]
        if isinstance(rule, Content) and binds(rule.terms, question)
        if (life := _life(rule.terms, question, zones)).since <= question.at < life.until
    ]
    return frozenset().union(*asking)


def binds(terms: Terms, question: Question) -> bool:
    """Tell whether a rule applies to this contact, regardless of the moment."""
    proposed, circumstances = question.proposed, question.circumstances
    if proposed.channel not in terms.channels or proposed.purpose in terms.exempt:
        return False
    strict = circumstances.profile is Profile.STRICT
    if not strict and terms.nature not in FLOOR:
        return False
    conditions = terms.conditions
    if conditions is None:
        return True
    if conditions.products is not None and conditions.products.isdisjoint(_products(question)):
        return False
    return strict or conditions.roles is None or circumstances.role in conditions.roles


def _read(rule: Rule, question: Question, zones: tuple[ZoneInfo, ...]) -> Iterator[Clause]:
    match rule:
        case Window():
            yield from _clocks(rule, question, zones)
        case Cap() | Spacing() | CoolOff() | ChannelLock():
            yield from _counted(rule, question, zones)
        case NoticeFirst():
            yield from _rest_until(noticed(rule, question.proposed, question.circumstances.prior, zones), rule, question, zones)
        case Consent() | Ban() | Addressees() | Content():
            if _refuses(rule, question):
                yield Rest(_voice(rule), _life(rule.terms, question, zones))
        case _:
            assert_never(rule)


def _refuses(rule: Consent | Ban | Addressees | Content, question: Question) -> bool:
    consents = question.circumstances.consents
    match rule:
        case Consent():
            return consents is not None and question.proposed.channel not in consents
        case Ban():
            return True
        case Addressees():
            return question.proposed.addressee not in rule.allowed
        case Content():
            return question.proposed.content is not None and bool(faults(question.proposed.content, rule.asks))


def _clocks(rule: Window, question: Question, zones: tuple[ZoneInfo, ...]) -> Iterator[Clause]:
    if rule.zone is not None:
        zones = _places((rule.zone,), question.packs)
    voice, life = _voice(rule), _life(rule.terms, question, zones)
    for zone in zones:
        yield Clock(voice, zone, rule.hours, rule.holidays, life, steady=rule.holidays is None and life == _FOREVER and _steady(zone))


def _counted(rule: Counting, question: Question, zones: tuple[ZoneInfo, ...]) -> Iterator[Clause]:
    prior = question.circumstances.prior
    if not prior and not (isinstance(rule, Cap) and rule.limit == 0):
        return
    counter = counter_of(rule, question.proposed)
    free = [counter.free_at(prior, key, zones) for key in keys_of(rule.scope, question.proposed)]
    until = max((moment for moment in free if moment is not None), default=ALWAYS)
    yield from _rest_until(until, rule, question, zones)


def _rest_until(until: datetime, rule: Rule, question: Question, zones: tuple[ZoneInfo, ...]) -> Iterator[Clause]:
    if until > question.at:
        life = _life(rule.terms, question, zones)
        yield Rest(_voice(rule), Life(life.since, min(until, life.until)))


def _stops(question: Question) -> Iterator[Clause]:
    for stop in question.circumstances.stops:
        row = STOPS[stop.kind]
        passes = row.passes if (stop.contacts or row.contacts) is StopContacts.LIMITED else frozenset[Purpose]()
        if question.proposed.purpose not in passes and _reaches(stop, question.proposed):
            voice = Voice(f"stop-{stop.kind}", Nature.PRODUCT_DEFAULT, f"product default: {_about(stop)}", RuleKind.STOP)
            yield Rest(voice, Life(stop.since, _ends(stop, question)))


def _ends(stop: Stop, question: Question) -> datetime:
    """Return when a stop ends; one for a promised date lasts until that date has passed wherever the borrower may be."""
    if stop.until is not None or stop.promised_on is None:
        return stop.until or NEVER
    return max((instant(stop.promised_on + timedelta(days=1), 0, zone) for zone in question.all_zones()), default=NEVER)


def _reaches(stop: Stop, proposed: Proposed) -> bool:
    match stop.scope:
        case StopScope.PERSON:
            return True
        case StopScope.DEBT:
            return stop.debt is None or not proposed.debts or stop.debt in proposed.debts
        case StopScope.CHANNEL:
            return stop.channel is None or stop.channel == proposed.channel


def _wishes(question: Question) -> Iterator[Clause]:
    circumstances = question.circumstances
    if question.proposed.channel in circumstances.preferences.no_channels:
        yield Rest(_BORROWER_CHANNELS, _FOREVER)
    if circumstances.preferences.hours is not None:
        yield from _plain(_BORROWER_HOURS, circumstances.preferences.hours, question)
    if circumstances.tenant_hours is not None:
        yield from _plain(_TENANT_HOURS, circumstances.tenant_hours.hours, question)


def _plain(voice: Voice, hours: WeeklyHours, question: Question) -> Iterator[Clause]:
    """Yield clocks for hours that do not come from a pack; their holidays are those of every pack that names some."""
    rules = (rule for _, located in question.located if located for rule in located.rules)
    named = {rule.holidays for rule in rules if isinstance(rule, Window) and rule.holidays} if hours.holiday is not None else set()
    for zone in question.all_zones():
        yield from (Clock(voice, zone, hours, holidays, _FOREVER) for holidays in named)
        if not named:
            yield Clock(voice, zone, hours, None, _FOREVER, steady=_steady(zone))


def _life(terms: Terms, question: Question, zones: Iterable[ZoneInfo]) -> Life:
    """Return when a rule is in force, in the widest reading of its dates over the zones."""
    conditions = terms.conditions if question.circumstances.profile is Profile.LEGAL_FLOOR else None
    past_due = conditions.past_due if conditions else None
    if terms.since is None and terms.until is None and past_due is None:
        return _FOREVER
    lives = [_life_in(terms, past_due, question, zone) for zone in zones]
    return Life(min(life.since for life in lives), max(life.until for life in lives))


def _life_in(terms: Terms, past_due: PastDue | None, question: Question, zone: ZoneInfo) -> Life:
    since = instant(terms.since, 0, zone) if terms.since else ALWAYS
    until = instant(terms.until, 0, zone) if terms.until else NEVER
    if past_due is None:
        return Life(since, until)
    today = question.at.astimezone(zone).date()
    ages = [_age(debt, question, today) for debt in question.proposed.debts]
    known = [age for age in ages if age is not None]
    if not ages or len(known) < len(ages):
        return Life(since, until)
    if past_due.least is not None:
        since = max(since, _in_days(past_due.least - max(known), today, zone))
    if past_due.most is not None:
        until = min(until, _in_days(past_due.most - min(known) + 1, today, zone))
    return Life(since, until)


def _age(debt: str, question: Question, today: date) -> int | None:
    facts = question.circumstances.debt_facts.get(debt)
    if facts is None or facts.past_due_days is not None or facts.due_on is None:
        return facts.past_due_days if facts else None
    return (today - facts.due_on).days


def _in_days(days: int, today: date, zone: ZoneInfo) -> datetime:
    return instant(today + timedelta(days=days), 0, zone)


def _products(question: Question) -> Iterator[str | None]:
    for debt in question.proposed.debts or question.circumstances.debt_facts:
        facts = question.circumstances.debt_facts.get(debt)
        yield facts.product if facts else None


def _places(names: tuple[str, ...], packs: Packs) -> tuple[ZoneInfo, ...]:
    return tuple(zone for zone in map(packs.places.find, names) if zone is not None)


def _steady(zone: ZoneInfo) -> bool:
    return zone.key.startswith("Etc/")


def _voice(rule: Rule) -> Voice:
    return Voice(rule.terms.id, rule.terms.nature, rule.terms.cite, KINDS[type(rule)])


def _about(stop: Stop) -> str:
    about = stop.debt or stop.channel
    return f"stop {stop.kind} on {stop.scope} {about}" if about else f"stop {stop.kind} on the {stop.scope}"


def _lost(name: str | None) -> Rest:
    fault = "no jurisdiction is named" if name is None else f"there is no pack for {name!r}"
    cite = f"product default: {fault}; name the borrower's from the list of packs"
    return Rest(Voice("jurisdiction-unknown", Nature.PRODUCT_DEFAULT, cite, RuleKind.JURISDICTION), _FOREVER)
