"""Counters over earlier contacts: which of them count, over what, and when the next one is allowed."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from libs.compliance.circumstances import Prior, Proposed
from libs.compliance.clauses import NEVER
from libs.compliance.hours import instant
from libs.compliance.rules import Cap, ChannelLock, CoolOff, Counting, NoticeFirst, Pack, Reach, Spacing
from libs.compliance.vocabulary import CapScope, Channel, Purpose, ReachKind, Unit

NOT_SENT = frozenset({"not_sent", "refused", "cancelled", "suppressed"})
NOT_PLACED = NOT_SENT | {
    "busy", "bounced", "failed", "undelivered", "not_delivered", "invalid_address", "invalid_number", "out_of_service", "unreachable",
    "not_connected",
}  # fmt: skip
NOT_BEGUN = NOT_PLACED | {"no_message", "no_voicemail", "mailbox_full"}
NOT_MADE = NOT_BEGUN | {"no_answer"}
UNKNOWN = frozenset({"", "unknown"})
UNCOUNTED = {Unit.DIAL: NOT_SENT, Unit.ATTEMPT: NOT_PLACED, Unit.INITIATED: NOT_BEGUN, Unit.CONTACT: NOT_MADE}

_A_DAY = timedelta(days=1)
_LONGEST = {ReachKind.ELAPSED: timedelta(hours=1), ReachKind.DATES: _A_DAY, ReachKind.WEEK: 7 * _A_DAY, ReachKind.MONTH: 31 * _A_DAY}
_RESERVED_IN = Cap | Spacing | ChannelLock

ANY = ""
"""The key of a counter not narrowed to a debt or number: it covers the whole borrower, or the debt or number is unknown."""


@dataclass(frozen=True, slots=True)
class Counter:
    """A rule about earlier contacts in one common form: at most so many of these within reach, counted over this scope."""

    scope: CapScope
    reach: Reach
    limit: int
    counts: frozenset[Channel]
    exempt: frozenset[str]
    uncounted: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    kinds: frozenset[str] | None = None
    either_side: bool = False

    def counted(self, prior: Prior) -> bool:
        """Tell whether an earlier contact counts, whatever it was about."""
        if prior.channel not in self.counts or (prior.direction != "outbound" and not self.either_side):
            return False
        if self.only is not None:
            return prior.result in self.only
        if self.kinds is not None and prior.kind not in self.kinds:
            return False
        return prior.result not in self.uncounted and prior.kind not in self.exempt

    def free_at(self, priors: Iterable[Prior], key: str, zones: Iterable[ZoneInfo]) -> datetime | None:
        """Return the moment from which one more is allowed in all these zones, None when it is allowed already."""
        if self.limit == 0:
            return NEVER
        moments = sorted((prior.at for prior in priors if touches(prior, self.scope, key) and self.counted(prior)), reverse=True)
        if len(moments) < self.limit:
            return None
        return max(_rolls_off(moments[self.limit - 1], self.reach, zone) for zone in zones)


def counter_of(rule: Counting, proposed: Proposed) -> Counter:
    """Return the counter that a rule amounts to for this contact."""
    exempt = frozenset(_kinds(rule.terms.exempt))
    match rule:
        case Cap():
            return Counter(rule.scope, rule.reach, rule.limit, rule.counts, exempt, UNCOUNTED[rule.unit], kinds=rule.kinds)
        case Spacing():
            return Counter(rule.scope, Reach(ReachKind.DATES, rule.free_days + 1), 1, rule.counts, exempt, NOT_PLACED)
        case CoolOff():
            only = rule.results | UNKNOWN if rule.results else None
            return Counter(rule.scope, rule.reach, 1, rule.counts, frozenset(), NOT_PLACED, only, rule.kinds, either_side=True)
        case ChannelLock():
            others = rule.counts - {proposed.channel}
            return Counter(rule.scope, rule.reach, 1, others, exempt, UNCOUNTED[rule.unit])


def noticed(rule: NoticeFirst, proposed: Proposed, priors: Iterable[Prior], zones: Collection[ZoneInfo]) -> datetime:
    """Return the moment from which every debt's notice is old enough, `NEVER` when a debt has had none."""
    rest = Reach(ReachKind.DATES, rule.free_days + 1)
    own = (prior for prior in priors if not prior.of_another)
    given = [prior for prior in own if prior.kind in rule.kinds and prior.channel in rule.counts and prior.result not in NOT_PLACED]
    first = [min((prior.at for prior in given if touches(prior, rule.scope, key)), default=None) for key in keys_of(rule.scope, proposed)]
    return max(NEVER if at is None else max(_rolls_off(at, rest, zone) for zone in zones) for at in first)


def longest_reach(packs: Mapping[str, Pack], scope: CapScope) -> timedelta:
    """Return how long a contact can count over this scope under any rule of any pack, in any time zone."""
    rules = [rule for pack in packs.values() for rule in pack.rules if isinstance(rule, _RESERVED_IN) and rule.scope is scope]
    return _A_DAY + max(map(_reach_of, rules), default=timedelta())


def keys_of(scope: CapScope, proposed: Proposed) -> tuple[str, ...]:
    """Return the keys under which this contact counts; a message about several debts counts for each."""
    match scope:
        case CapScope.PERSON:
            return (ANY,)
        case CapScope.DEBT | CapScope.CLAIM:
            return proposed.debts or (ANY,)
        case CapScope.NUMBER:
            return (proposed.to or ANY,)


def touches(prior: Prior, scope: CapScope, key: str) -> bool:
    """Tell whether an earlier contact falls under a key; one that does not name its debts or number falls under all."""
    match scope:
        case CapScope.PERSON:
            return not prior.of_another
        case CapScope.DEBT | CapScope.CLAIM:
            return not prior.of_another and (key == ANY or not prior.debts or key in prior.debts)
        case CapScope.NUMBER:
            return key == ANY or prior.to is None or prior.to == key


def _reach_of(rule: Cap | Spacing | ChannelLock) -> timedelta:
    return (rule.free_days + 1) * _A_DAY if isinstance(rule, Spacing) else rule.reach.n * _LONGEST[rule.reach.kind]


def _kinds(exempt: frozenset[Purpose]) -> Iterable[str]:
    yield from exempt
    if Purpose.NOTICE in exempt:
        yield "statutory_notice"


def _rolls_off(moment: datetime, reach: Reach, zone: ZoneInfo) -> datetime:
    day = moment.astimezone(zone).date()
    match reach.kind:
        case ReachKind.ELAPSED:
            return moment + timedelta(hours=reach.n)
        case ReachKind.DATES:
            return instant(day + timedelta(days=reach.n), 0, zone)
        case ReachKind.WEEK:
            return instant(day + timedelta(days=7 * reach.n - day.weekday()), 0, zone)
        case ReachKind.MONTH:
            years, month = divmod(day.month - 1 + reach.n, 12)
            return instant(date(day.year + years, month + 1, 1), 0, zone)
