"""`POST /v1/compliance/check`: a question to the gate in the form of the public contract; answering it changes no state."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import field

from libs.common.api import read_as
from libs.common.contracts.values import Contract, Moment
from libs.common.contracts.wallet_borrowers import ChannelName, PurposeName, StopName
from libs.common.errors import DomainError
from libs.common.value import replace
from libs.compliance import (
    STOPS,
    Allow,
    Channel,
    Circumstances,
    DebtFacts,
    Deny,
    Packs,
    Preferences,
    Prior,
    Profile,
    Proposed,
    Purpose,
    Role,
    Stop,
    StopContacts,
    StopKind,
    StopScope,
    TenantHours,
    Text,
    decide,
)
from libs.compliance.content import PREVIEWS, Part
from libs.compliance.hours import WEEKDAYS, Span
from libs.compliance.reading import KINDS
from libs.compliance.rules import Addressees, Cap, ChannelLock, Content, CoolOff, NoticeFirst, Pack, Rule, Spacing, Window
from services.notifier.domain.preferences import ChannelWishes, Quiet, Wishes


class StopIn(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stop; without a scope it covers the channel or debt it names, or else whatever its kind covers."""

    kind: StopName
    scope: Literal["person", "debt", "channel"] | None = None
    from_: Moment | None = field(name="from", default=None)
    until: Moment | None = None
    channel: ChannelName | None = None
    debt: str | None = None
    contacts: Literal["none", "limited"] | None = None
    promised_on: date | None = None


class PriorIn(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An earlier contact."""

    at: Moment
    channel: ChannelName
    result: str | None = None
    debt: str | None = None
    debts: tuple[str, ...] = ()
    by: str = "lender"
    to: str | None = None
    direction: Literal["outbound", "inbound"] = "outbound"
    kind: str | None = None


class ContentIn(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A text to judge; the lender's name is looked for only if given, and amounts not given are unknown."""

    body: str
    subject: str | None = None
    language: str | None = None
    lender: str | None = None
    amounts: tuple[str, ...] | None = None

    def read(self, channel: str) -> Text:
        """Return the text as the rules read it on this channel."""
        previews = PREVIEWS.get(channel, frozenset())
        said = [(name, text) for name, text in (("subject", self.subject), ("body", self.body)) if text is not None]
        return Text(tuple(Part(name, text, name in previews) for name, text in said), self.language, self.lender, self.amounts)


class ProposedIn(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contact asked about."""

    at: Moment
    channel: ChannelName
    purpose: PurposeName = "dunning"
    debt: str | None = None
    debts: tuple[str, ...] = ()
    to: str | None = None
    addressee: str = "debtor"
    content: ContentIn | str | None = None


class DebtFactsIn(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of a debt."""

    past_due_days: int | None = None
    principal: int | None = None
    product: str | None = None
    due_on: date | None = None


class WishesIn(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the borrower asked for, as it is set through the API; a question with an unreadable wish is refused."""

    no_contact: tuple[Quiet, ...] = ()
    no_channels: tuple[ChannelName, ...] = ()
    channels: ChannelWishes = ChannelWishes()
    language: str | None = None

    def preferences(self) -> Preferences:
        """Return the wishes as the gate takes them."""
        wished = Wishes(no_contact=self.no_contact, channels=self.channels).preferences()
        return replace(wished, no_channels=wished.no_channels | frozenset(map(Channel, self.no_channels)))


class CheckIn(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole question."""

    jurisdictions: tuple[str, ...]
    proposed: ProposedIn
    timezones: tuple[str, ...] | Literal["unknown"] = "unknown"
    profile: Literal["strict", "legal_floor"] = "strict"
    role: Literal["first_party", "agency", "buyer"] = "first_party"
    consents: tuple[ChannelName, ...] | None = None
    preferences: WishesIn = WishesIn()
    tenant_hours: dict[str, str] | None = None
    stops: tuple[StopIn, ...] = ()
    prior: tuple[PriorIn, ...] = ()
    debt_facts: dict[str, DebtFactsIn] = field(default_factory=dict)


def check(body: bytes, packs: Packs) -> dict[str, object]:
    """Return the gate's answer; an unreadable question is refused, saying where and why."""
    question = read_as(CheckIn, body, code="invalid_request", what="question")
    try:
        return written(decide(_proposed(question.proposed), _circumstances(question), packs), _zone(question))
    except OverflowError as error:
        raise DomainError(422, "invalid_request", "question: a time is too close to the end of the calendar") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DomainError(422, "invalid_request", str(error)[:300]) from error


def describe(pack: Pack) -> dict[str, object]:
    """Return the summary of a pack."""
    return {
        "id": pack.id, "name": pack.name, "version": pack.version, "verified": pack.verified, "sandbox_only": pack.sandbox_only,
        "regions": sorted(pack.regions), "zones": pack.zones, "sources": pack.sources, "holidays_known_to": pack.holidays_known_to,
    }  # fmt: skip


def describe_whole(pack: Pack) -> dict[str, object]:
    """Return a pack with its rules: what each says, what it applies to, its citation, and how well it is verified."""
    rules = [
        {
            "rule": rule.terms.id, "kind": KINDS[type(rule)].value, "nature": rule.terms.nature.value, "cite": rule.terms.cite,
            "evidence": rule.terms.evidence.value, "channels": sorted(rule.terms.channels), "exempt": sorted(rule.terms.exempt),
            "since": rule.terms.since, "until": rule.terms.until, "note": rule.terms.note,
            "regions": sorted(rule.terms.regions) if rule.terms.regions else None, "when": _conditions(rule),
            **_particulars(rule),
        }
        for rule in pack.rules
    ]  # fmt: skip
    return {**describe(pack), "notes": pack.notes, "rules": rules}


def _particulars(rule: Rule) -> dict[str, object]:
    """Return the fields specific to this kind of rule."""
    match rule:
        case Window():
            days = {**dict(zip(WEEKDAYS, rule.hours.days, strict=True)), "holiday": rule.hours.holiday}
            hours = {day: _hours(spans) for day, spans in days.items() if spans is not None}
            return {"hours": hours, "calendar": rule.holidays.name if rule.holidays else None, "zone": rule.zone}
        case Cap() | CoolOff() | ChannelLock():
            return {**_counting(rule), "reach": {rule.reach.kind.value: rule.reach.n}}
        case Spacing() | NoticeFirst():
            return {**_counting(rule), "free_days": rule.free_days}
        case Addressees():
            return {"allowed": sorted(rule.allowed)}
        case Content():
            return {"asks": sorted(rule.asks)}
        case _:
            return {}


def _counting(rule: Cap | CoolOff | ChannelLock | Spacing | NoticeFirst) -> dict[str, object]:
    said: dict[str, object] = {"scope": rule.scope.value, "counts": sorted(rule.counts)}
    match rule:
        case Cap():
            return {**said, "limit": rule.limit, "unit": rule.unit.value}
        case CoolOff():
            return {**said, "results": sorted(rule.results), "kinds": sorted(rule.kinds or ())}
        case NoticeFirst():
            return {**said, "kinds": sorted(rule.kinds)}
        case _:
            return said


def _hours(spans: Sequence[Span]) -> str:
    return ", ".join(f"{_clock(span.opens)}-{_clock(span.closes)}" for span in spans) or "none"


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _conditions(rule: Rule) -> dict[str, object] | None:
    when = rule.terms.conditions
    if when is None:
        return None
    past_due = {"least": when.past_due.least, "most": when.past_due.most} if when.past_due else None
    return {"roles": sorted(when.roles or ()), "products": sorted(when.products or ()), "past_due": past_due}


def _proposed(asked: ProposedIn) -> Proposed:
    content = ContentIn(body=asked.content) if isinstance(asked.content, str) else asked.content
    return Proposed(
        at=asked.at, channel=Channel(asked.channel), purpose=Purpose(asked.purpose), debts=_debts(asked.debt, asked.debts), to=asked.to,
        addressee=asked.addressee, content=content.read(asked.channel) if content else None,
    )  # fmt: skip


def _circumstances(question: CheckIn) -> Circumstances:
    return Circumstances(
        jurisdictions=question.jurisdictions,
        zones=None if question.timezones == "unknown" else question.timezones or None,
        profile=Profile(question.profile),
        role=Role(question.role),
        consents=None if question.consents is None else frozenset(map(Channel, question.consents)),
        preferences=question.preferences.preferences(),
        tenant_hours=TenantHours.parse(question.tenant_hours) if question.tenant_hours else None,
        stops=tuple(_stop(stop, question.proposed.at) for stop in question.stops),
        prior=tuple(_prior(prior) for prior in question.prior),
        debt_facts={
            debt: DebtFacts(f.past_due_days, f.principal, f.product, f.due_on) for debt, f in question.debt_facts.items()
        },
    )  # fmt: skip


def _stop(stop: StopIn, at: datetime) -> Stop:
    kind = StopKind(stop.kind)
    return Stop(
        kind, StopScope(stop.scope) if stop.scope else _scope(stop, kind), stop.from_ or at, stop.until, channel=stop.channel,
        debt=stop.debt, contacts=StopContacts(stop.contacts) if stop.contacts else None, promised_on=stop.promised_on,
    )  # fmt: skip


def _scope(stop: StopIn, kind: StopKind) -> StopScope:
    """Return how far a stop reaches if it does not say: the channel or debt it names, like a hold; a death reaches everything."""
    if STOPS[kind].contacts is StopContacts.NONE:
        return STOPS[kind].scope
    named = StopScope.CHANNEL if stop.channel else StopScope.DEBT if stop.debt else None
    return named or STOPS[kind].scope


def _prior(prior: PriorIn) -> Prior:
    return Prior(
        at=prior.at, channel=Channel(prior.channel), result=prior.result or "", debts=_debts(prior.debt, prior.debts), by=prior.by,
        direction=prior.direction, to=prior.to, kind=prior.kind,
    )  # fmt: skip


def _debts(one: str | None, several: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*([one] if one else []), *several]))


def _zone(question: CheckIn) -> ZoneInfo | None:
    """Return the zone for the times in the answer."""
    if question.timezones == "unknown" or not question.timezones:
        return None
    try:
        return ZoneInfo(question.timezones[0])
    except (KeyError, ValueError, OSError):
        return None


def written(answer: Allow | Deny, zone: ZoneInfo | None) -> dict[str, object]:
    """Return the gate's answer in the form of the contract, with times in a zone where one is known."""
    if isinstance(answer, Allow):
        return {
            "decision": "allow", "earliest": None, "rules": [], "window_ends": local(answer.window_ends, zone),
            "packs": dict(answer.packs),
        }  # fmt: skip
    rules = [
        {"rule": r.rule, "nature": r.nature.value, "kind": r.kind.value, "cite": r.cite, "until": local(r.until, zone)}
        for r in answer.reasons
    ]
    return {"decision": "deny", "earliest": local(answer.earliest, zone), "rules": rules, "packs": dict(answer.packs)}


def local(moment: datetime | None, zone: ZoneInfo | None) -> datetime | None:
    """Return a time as written in a zone."""
    return moment.astimezone(zone) if moment is not None and zone is not None else moment
