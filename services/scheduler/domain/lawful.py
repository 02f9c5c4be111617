"""When a contact may lawfully go out: asks the gate as the notifier does, with what the scheduler knows about the borrower."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from libs.compliance import (
    STOPS,
    Allow,
    Channel,
    Circumstances,
    DebtFacts,
    Nature,
    Packs,
    Preferences,
    Prior,
    Proposed,
    Purpose,
    Reason,
    RuleKind,
    Stop,
    StopContacts,
    StopKind,
    StopScope,
    consented,
    decide,
    taken_back,
    word_of,
)
from libs.compliance.daily import ONCE_A_DAY, cite_of, free_at
from libs.compliance.house import House
from services.scheduler.domain import stops as case_stops
from services.scheduler.domain.case import Debt
from services.scheduler.domain.policy import Send

NO_ADDRESS = "no_address"
BY_US = "dunwell"
AS_NOTHING_IS_SET = House()


@dataclass(frozen=True, slots=True)
class Address:
    """Where a borrower can be reached: a keyed hash of the address, never the address itself."""

    channel: str
    lookup: str
    priority: int = 100
    purposes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Reach:
    """What the gate needs to know about a borrower; `known` once a profile has arrived."""

    known: bool = False
    timezone: str | None = None
    jurisdictions: tuple[str, ...] = ()
    addresses: tuple[Address, ...] = ()
    consents: Mapping[tuple[str, str], datetime | None] = field(default_factory=dict)
    """Granted consents by channel and purpose, with the start of those that begin later."""
    withdrawn: frozenset[tuple[str, str]] = frozenset()
    """Consents the borrower has refused or withdrawn."""

    def address(self, channel: str, purpose: str) -> Address | None:
        """Return the address to use: the one for this purpose with the lowest priority number."""
        fitting = [a for a in self.addresses if a.channel == channel and (a.purposes is None or purpose in a.purposes)]
        return min(fitting, key=lambda address: address.priority, default=None)


@dataclass(frozen=True, slots=True)
class Wish:
    """A wanted contact, and everything the gate is told about it except the time."""

    send: Send
    debts: tuple[Debt, ...]
    reach: Reach
    stops: Sequence[case_stops.Stop]
    prior: tuple[Prior, ...]
    spent: frozenset[str] = frozenset()
    """Channels already tried."""
    dunned: tuple[datetime, ...] = ()
    """When other dunning messages went out, across all cases of the borrower."""
    house: House = AS_NOTHING_IS_SET


@dataclass(frozen=True, slots=True)
class Denied:
    """The rules that denied a channel."""

    channel: str
    rules: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class May:
    """It may go out now, on this channel; `denied` are the channels before it in the order."""

    channel: str
    lookup: str
    denied: tuple[Denied, ...] = ()


@dataclass(frozen=True, slots=True)
class Later:
    """Not now; ask again at that moment."""

    until: datetime
    reason: str
    denied: tuple[Denied, ...] = ()


@dataclass(frozen=True, slots=True)
class Never:
    """No moment is known at which it may go out."""

    reason: str
    denied: tuple[Denied, ...] = ()


@dataclass(frozen=True, slots=True)
class NoWay:
    """There is no channel to ask about."""

    reason: str = NO_ADDRESS


Answer = May | Later | Never | NoWay


def ask(wish: Wish, packs: Packs, now: datetime) -> Answer:
    """Return the first lawful channel in order of preference, else when one will be."""
    ways = list(_ways(wish))
    if not ways:
        return NoWay()
    circumstances = _circumstances(wish, now)
    debts = tuple(debt.loan_id for debt in wish.debts)
    denied: list[Denied] = []
    ends: list[tuple[datetime, str]] = []
    for way in ways:
        answer = decide(Proposed(now, Channel(way.channel), Purpose(wish.send.purpose), debts, way.lookup), circumstances, packs)
        if isinstance(answer, Allow):
            return _full_day(wish, way, denied, now) or May(way.channel, way.lookup, tuple(denied))
        denied.append(Denied(way.channel, answer.reasons))
        if answer.earliest is not None:
            ends.append((answer.earliest, word_of(answer.reasons)))
    if not ends:
        return Never(word_of(denied[0].rules), tuple(denied))
    until, word = min(ends)
    return Later(until, word, tuple(denied))


def earliest(wish: Wish, packs: Packs, opens: datetime, closes: datetime) -> tuple[tuple[datetime, str] | None, Answer]:
    """Return the first lawful moment in a window with its channel (None if there is none), and the gate's first answer."""
    first = answer = ask(wish, packs, opens)
    at = opens
    while isinstance(answer, Later) and at < answer.until < closes:
        at = answer.until
        answer = ask(wish, packs, at)
    return ((at, answer.channel) if isinstance(answer, May) else None), first


def _ways(wish: Wish) -> Iterator[Address]:
    for channel in wish.send.channels:
        if channel not in wish.spent and (address := wish.reach.address(channel, wish.send.purpose)) is not None:
            yield address


def dunned(prior: Sequence[Prior]) -> tuple[datetime, ...]:
    """Return when our own dunning messages went out."""
    return tuple(contact.at for contact in prior if contact.by == BY_US and contact.kind == "dunning")


def _full_day(wish: Wish, way: Address, denied: Sequence[Denied], now: datetime) -> Later | None:
    """Return until when a dunning message waits because the tenant's daily limit is used up."""
    limit = wish.house.dunning_a_day
    if limit is None or wish.send.purpose != "dunning":
        return None
    if (until := free_at(wish.dunned, limit, _zones(wish) or ("UTC",), now)) is None:
        return None
    rule = Reason(ONCE_A_DAY, Nature.PRODUCT_DEFAULT, cite_of(limit), until, RuleKind.CAP)
    return Later(until, ONCE_A_DAY, (*denied, Denied(way.channel, (rule,))))


def _zones(wish: Wish) -> tuple[str, ...] | None:
    reach = wish.reach
    return (reach.timezone,) if reach.timezone else tuple(sorted({debt.timezone for debt in wish.debts})) or None


def _circumstances(wish: Wish, now: datetime) -> Circumstances:
    reach = wish.reach
    named = {place for debt in wish.debts for place in debt.jurisdictions} | set(reach.jurisdictions)
    consents = consented(reach.consents, reach.withdrawn, wish.send.purpose, now)
    return Circumstances(
        jurisdictions=tuple(sorted(named)), zones=_zones(wish), profile=wish.house.profile, role=wish.house.role,
        consents=consents, preferences=Preferences(no_channels=taken_back(reach.withdrawn, wish.send.purpose, consents)),
        tenant_hours=wish.house.hours, stops=tuple(_stop(stop) for stop in wish.stops if stop.kind in _KINDS),
        prior=wish.prior, debt_facts={debt.loan_id: _facts(debt, now) for debt in wish.debts},
    )  # fmt: skip


_KINDS = frozenset(kind.value for kind in StopKind)


def _stop(stop: case_stops.Stop) -> Stop:
    kind = StopKind(stop.kind)
    scope = StopScope.CHANNEL if stop.channel else StopScope.DEBT if stop.loan_id else STOPS[kind].scope
    contacts = StopContacts(stop.contacts) if stop.contacts else None
    return Stop(kind, scope, stop.from_at, stop.until, channel=stop.channel, debt=stop.loan_id, contacts=contacts)


def _facts(debt: Debt, now: datetime) -> DebtFacts:
    since = debt.past_due_from
    days = (now.astimezone(ZoneInfo(debt.timezone)).date() - since).days if since else None
    return DebtFacts(past_due_days=days, product=debt.product, due_on=since)
