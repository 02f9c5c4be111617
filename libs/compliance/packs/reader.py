"""Turns the written form of a pack into rules, strictly: an unknown key, word or type is an error that says where."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from libs.compliance.holidays import HolidayRules, Holidays, calendar
from libs.compliance.hours import WeeklyHours, parse_week
from libs.compliance.rules import (
    Addressees,
    Ban,
    Cap,
    ChannelLock,
    Conditions,
    Consent,
    Content,
    CoolOff,
    NoticeFirst,
    Pack,
    PastDue,
    Reach,
    Rule,
    Spacing,
    Terms,
    Window,
)
from libs.compliance.vocabulary import CapScope, Channel, ContentKind, Evidence, Nature, Purpose, ReachKind, Role, RuleKind, Unit

ANY_CHANNEL = frozenset(Channel)
GROUPS: Mapping[str, frozenset[Channel]] = {
    "any": ANY_CHANNEL,
    "contact": ANY_CHANNEL - {Channel.LETTER},
    "voice": frozenset({Channel.CALL, Channel.AI_VOICE, Channel.VOICEMAIL}),
    "messages": frozenset({Channel.SMS, Channel.EMAIL, Channel.PUSH, Channel.INBOX, Channel.CHAT, Channel.PRIVATE_MESSAGE}),
}
_S = TypeVar("_S")
_T = TypeVar("_T")
_E = TypeVar("_E", bound=StrEnum)


class PackError(RuntimeError):
    """A pack that cannot be read as it stands."""


@dataclass(frozen=True, slots=True)
class Node:
    """A mapping as written, and its place in the file; a key is removed when it is taken."""

    where: str
    left: dict[str, object]

    def fault(self, what: str) -> PackError:
        """Return an error that names this place."""
        return PackError(f"{self.where}: {what}")

    def take(self, key: str, kind: type[_T]) -> _T:
        """Take a value that must be there."""
        value = self.maybe(key, kind)
        if value is None:
            raise self.fault(f"{key!r} is missing")
        return value

    def maybe(self, key: str, kind: type[_T]) -> _T | None:
        """Take a value that may be absent."""
        value = self.left.pop(key, None)
        if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
            raise self.fault(f"{key!r} must be {kind.__name__}, not {value!r}")
        return value

    def word(self, key: str, words: type[_E]) -> _E:
        """Take one word of a closed list."""
        return self.parsed(key, self.take(key, str), words)

    def words(self, key: str, words: type[_E]) -> frozenset[_E]:
        """Take several words of a closed list."""
        return frozenset(self.parsed(key, text, words) for text in self.texts(key))

    def texts(self, key: str) -> tuple[str, ...]:
        """Take a list of texts, empty when absent."""
        values = self.maybe(key, list) or []
        if not all(isinstance(value, str) for value in values):
            raise self.fault(f"{key!r} must be a list of texts, not {values!r}")
        return tuple(values)

    def node(self, key: str) -> "Node | None":
        """Take a mapping below this one."""
        value = self.maybe(key, dict)
        return None if value is None else Node(f"{self.where}: {key}", dict(value))

    def parsed(self, key: str, text: _S, parse: Callable[[_S], _T]) -> _T:
        """Parse a value; an error names the key."""
        try:
            return parse(text)
        except (ValueError, TypeError, AttributeError) as fault:
            raise self.fault(f"{key!r}: {fault}") from fault

    def done(self) -> None:
        """Refuse keys that nothing has taken."""
        if self.left:
            raise self.fault(f"unknown keys: {', '.join(sorted(map(str, self.left)))}")


def pack_of(written: object, name: str) -> Pack:
    """Return the pack written in a file of this name."""
    if not isinstance(written, dict):
        raise PackError(f"{name}: a pack is a mapping")
    node = Node(name, dict(written))
    calendars = _calendars(node)
    regions = frozenset(node.texts("regions"))
    rules = tuple(_rule(node, at, rule, calendars) for at, rule in enumerate(node.take("rules", list)))
    pack = Pack(
        id=node.take("id", str),
        name=node.take("name", str),
        version=node.take("version", str),
        zones=tuple(node.parsed("zones", zone, _zone) for zone in node.texts("zones")),
        rules=rules,
        regions=regions,
        sources=node.texts("sources"),
        verified=node.take("verified", str),
        sandbox_only=bool(node.maybe("sandbox_only", bool)),
        notes=node.texts("notes"),
    )
    node.done()
    _check(node, pack)
    return pack


def _check(node: Node, pack: Pack) -> None:
    ids = [rule.terms.id for rule in pack.rules]
    twice = sorted({rule for rule in ids if ids.count(rule) > 1})
    if twice:
        raise node.fault(f"rules named twice: {', '.join(twice)}")
    strange = sorted(frozenset().union(*(rule.terms.regions or () for rule in pack.rules)) - pack.regions)
    if strange:
        raise node.fault(f"rules name regions the pack does not have: {', '.join(strange)}")


def _calendars(node: Node) -> dict[str, Holidays]:
    written = node.node("calendars")
    if written is None:
        return {}
    return {name: _calendar(name, written) for name in list(written.left)}


def _calendar(name: str, above: Node) -> Holidays:
    node = above.node(name)
    if node is None:
        raise above.fault(f"{name!r} is empty")
    years = node.take("years", list)
    if len(years) != 2 or not all(isinstance(year, int) for year in years):
        raise node.fault("'years' must be [first, last]")
    rules = HolidayRules(node.texts("fixed"), _all(node, "easter", int), node.texts("weekday"), _all(node, "dates", date))
    node.done()
    return node.parsed("days", rules, lambda days: calendar(name, (years[0], years[1]), days))


def _all(node: Node, key: str, kind: type[_T]) -> tuple[_T, ...]:
    values = node.maybe(key, list) or []
    if not all(isinstance(value, kind) for value in values):
        raise node.fault(f"{key!r} must be a list of {kind.__name__}")
    return tuple(values)


def _rule(above: Node, at: int, written: object, calendars: Mapping[str, Holidays]) -> Rule:
    if not isinstance(written, dict):
        raise above.fault(f"rule {at} is not a mapping")
    node = Node(f"{above.where}: rule {written.get('id', at)}", dict(written))
    kind = node.word("kind", RuleKind)
    terms = _terms(node)
    if kind is RuleKind.WINDOW:
        rule: Rule = _window(node, terms, calendars)
    elif kind in _KINDS:
        rule = _KINDS[kind](node, terms)
    else:
        raise node.fault(f"a pack has no rules of the kind {kind}")
    node.done()
    return rule


def _terms(node: Node) -> Terms:
    regions = node.texts("regions")
    return Terms(
        id=node.take("id", str),
        nature=node.word("nature", Nature),
        cite=node.take("cite", str),
        evidence=node.word("evidence", Evidence),
        channels=_channels(node, "channels") or ANY_CHANNEL,
        exempt=node.words("exempt", Purpose),
        conditions=_conditions(node.node("when")),
        since=node.maybe("since", date),
        until=node.maybe("until", date),
        regions=frozenset(regions) if regions else None,
        note=node.maybe("note", str),
    )


def _conditions(node: Node | None) -> Conditions | None:
    if node is None:
        return None
    past_due = node.node("past_due")
    conditions = Conditions(
        roles=node.words("roles", Role) or None,
        products=frozenset(node.texts("products")) or None,
        past_due=PastDue(past_due.maybe("least", int), past_due.maybe("most", int)) if past_due else None,
    )
    node.done()
    if past_due:
        past_due.done()
    return conditions


def _channels(node: Node, key: str) -> frozenset[Channel]:
    found: set[Channel] = set()
    for text in node.texts(key):
        found |= GROUPS[text] if text in GROUPS else {node.parsed(key, text, Channel)}
    return frozenset(found)


def _window(node: Node, terms: Terms, calendars: Mapping[str, Holidays]) -> Window:
    hours: WeeklyHours = node.parsed("hours", node.take("hours", dict), parse_week)
    name, zone = node.maybe("calendar", str), node.maybe("zone", str)
    if name is not None and name not in calendars:
        raise node.fault(f"no calendar {name!r} in this pack")
    if (name is None) != (hours.holiday is None):
        raise node.fault("a row for holidays and a calendar go together")
    return Window(terms, hours, calendars[name] if name else None, node.parsed("zone", zone, _zone) if zone else None)


def _cap(node: Node, terms: Terms) -> Cap:
    limit = node.take("limit", int)
    if limit < 0:
        raise node.fault("'limit' is below 0")
    kinds = frozenset(node.texts("kinds")) or None
    return Cap(terms, limit, node.word("unit", Unit), _reach(node), node.word("scope", CapScope), _counts(node, terms), kinds)


def _spacing(node: Node, terms: Terms) -> Spacing:
    return Spacing(terms, node.take("free_days", int), node.word("scope", CapScope), _counts(node, terms))


def _cool_off(node: Node, terms: Terms) -> CoolOff:
    results, kinds = frozenset(node.texts("results")), frozenset(node.texts("kinds"))
    if bool(results) == bool(kinds):
        raise node.fault("one of 'results' and 'kinds' is needed")
    return CoolOff(terms, results, _reach(node), node.word("scope", CapScope), _counts(node, terms), kinds or None)


def _notice_first(node: Node, terms: Terms) -> NoticeFirst:
    kinds = frozenset(node.texts("kinds"))
    if not kinds:
        raise node.fault("'kinds' is missing")
    return NoticeFirst(terms, node.take("free_days", int), node.word("scope", CapScope), _counts(node, terms), kinds)


def _lock(node: Node, terms: Terms) -> ChannelLock:
    return ChannelLock(terms, node.word("unit", Unit), _reach(node), node.word("scope", CapScope), _counts(node, terms))


def _addressees(node: Node, terms: Terms) -> Addressees:
    return Addressees(terms, frozenset(node.texts("allowed")))


def _content(node: Node, terms: Terms) -> Content:
    asks = node.words("asks", ContentKind)
    if not asks:
        raise node.fault("'asks' is missing")
    return Content(terms, asks)


def _counts(node: Node, terms: Terms) -> frozenset[Channel]:
    return _channels(node, "counts") or terms.channels


def _reach(node: Node) -> Reach:
    written = node.node("reach")
    if written is None or len(written.left) != 1:
        raise node.fault("'reach' must be one of " + ", ".join(f"{kind}: n" for kind in ReachKind))
    kind = written.parsed("reach", next(iter(written.left)), ReachKind)
    n = written.take(kind, int)
    if n < 1:
        raise node.fault("'reach' is below 1")
    return Reach(kind, n)


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except ZoneInfoNotFoundError as fault:
        raise ValueError(f"no time zone {name!r}") from fault
    return name


_KINDS: Mapping[RuleKind, Callable[[Node, Terms], Rule]] = {
    RuleKind.CAP: _cap,
    RuleKind.SPACING: _spacing,
    RuleKind.COOL_OFF: _cool_off,
    RuleKind.CHANNEL_LOCK: _lock,
    RuleKind.NOTICE_FIRST: _notice_first,
    RuleKind.CONSENT: lambda node, terms: Consent(terms, node.maybe("together", bool) or False),
    RuleKind.CHANNELS: lambda _, terms: Ban(terms),
    RuleKind.ADDRESSEE: _addressees,
    RuleKind.CONTENT: _content,
}
