"""Puts deliveries to the gate of libs.compliance: circumstances from stored values, and the answer in stored form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from libs.common.contracts.borrower_profiles import SealedAddress
from libs.common.contracts.contact_outcomes import RuleSpoken
from libs.common.contracts.contact_tasks import ContactRequested
from libs.common.contracts.overdue_facts import OverdueFact
from libs.common.value import Value, replace
from libs.compliance import (
    STOPS,
    Allow,
    CapKey,
    Channel,
    Circumstances,
    DebtFacts,
    Deny,
    Packs,
    Preferences,
    Prior,
    Proposed,
    Purpose,
    Reason,
    Stop,
    StopContacts,
    StopKind,
    StopScope,
    cap_keys,
    consented,
    consents_to,
    decide,
    is_to_come,
    taken_back,
)
from services.notifier.domain.known import Hold, Known, Status
from services.notifier.domain.owed import local_date
from services.notifier.domain.suppressions import ALONE, Beside, stops
from services.notifier.domain.verdicts import Decision


class Asked(Value, frozen=True):
    """One channel of a delivery, as a question to the gate."""

    request: ContactRequested
    known: Known
    channel: str
    address: SealedAddress
    debts: tuple[OverdueFact, ...]
    places: tuple[str, ...]
    """The jurisdictions named by any source."""
    addressee: str = "debtor"


class Earlier(Value, frozen=True):
    """Contacts that count: the borrower's own, and those of other owners of the same number."""

    own: tuple[Prior, ...] = ()
    of_others: tuple[Prior, ...] = ()
    lapse_at: tuple[datetime, ...] = ()
    """When slots among them that are held for people lapse, unless contacts are made in them."""


def ask(asked: Asked, earlier: Earlier, packs: Packs, *, now: datetime) -> Allow | Deny:
    """Return the gate's answer at this time.

    Contacts of other owners of the number count towards caps over numbers and nothing else.
    """
    others = tuple(replace(prior, of_another=True) for prior in earlier.of_others)
    return decide(_proposed(asked, now), _circumstances(asked, earlier.own + others, now, packs), packs)


def counters(asked: Asked, packs: Packs, *, now: datetime) -> tuple[CapKey, ...]:
    """Return the counters that this contact would count in."""
    return cap_keys(_proposed(asked, now), _circumstances(asked, (), now, packs), packs)


def jurisdictions(request: ContactRequested, known: Known) -> tuple[str, ...]:
    """Return the jurisdictions named by any source; the strictest wins."""
    named = set(request.jurisdictions) | set(known.profile.jurisdictions if known.profile else ())
    for debt in request.debts:
        named |= set(known.facts[debt.loan_id].jurisdictions) if debt.loan_id in known.facts else set()
    return tuple(sorted(named))


def only_sandbox(places: Sequence[str], packs: Packs) -> bool:
    """Return whether one of these jurisdictions is an example, where nobody real may be contacted."""
    return any(found.pack.sandbox_only for place in places if (found := packs.locate(place)) is not None)


def unstopped(debts: tuple[OverdueFact, ...], request: ContactRequested, known: Known, now: datetime) -> tuple[OverdueFact, ...]:
    """Return the debts without a stop of their own; if every debt has one, return all, and the gate will say so."""
    stopped = {
        stop.debt for stop in _stops(known)
        if stop.debt and stop.since <= now and (stop.until is None or now < stop.until) and not _passes(stop, Purpose(request.purpose))
    }  # fmt: skip
    return tuple(debt for debt in debts if debt.loan_id not in stopped) or debts


def kept(answer: Allow | Deny, asked: Asked, now: datetime) -> Decision:
    """Return the answer in stored form, with the facts it was based on."""
    facts = {debt.loan_id: (debt.epoch, debt.version) for debt in asked.debts}
    if isinstance(answer, Allow):
        return Decision("allow", asked.channel, now, window_ends=answer.window_ends, packs=dict(answer.packs), facts=facts)
    rules = tuple(spoken(reason) for reason in answer.reasons)
    kinds = tuple(dict.fromkeys(reason.kind.value for reason in answer.reasons))
    return Decision("deny", asked.channel, now, rules, kinds, earliest=answer.earliest, packs=dict(answer.packs), facts=facts)


def spoken(reason: Reason) -> RuleSpoken:
    """Return a rule that applied, in the form used in messages."""
    return RuleSpoken(rule=reason.rule, nature=reason.nature.value, cite=reason.cite, until=reason.until)


def _proposed(asked: Asked, now: datetime) -> Proposed:
    debts = tuple(debt.loan_id for debt in asked.debts)
    return Proposed(
        at=now, channel=Channel(asked.channel), purpose=Purpose(asked.request.purpose), debts=debts, to=asked.address.lookup or None,
        addressee=asked.addressee,
    )  # fmt: skip


def _circumstances(asked: Asked, prior: tuple[Prior, ...], now: datetime, packs: Packs) -> Circumstances:
    return Circumstances(
        jurisdictions=asked.places,
        zones=zones(asked),
        profile=asked.known.house.profile,
        role=asked.known.house.role,
        consents=_consents(asked, now),
        stops=(*_stops(asked.known), *_suppressed(asked, packs, now)),
        tenant_hours=asked.known.house.hours,
        preferences=_preferences(asked, now),
        prior=prior,
        debt_facts={debt.loan_id: _debt_facts(debt, now) for debt in asked.debts},
    )


def _suppressed(asked: Asked, packs: Packs, now: datetime) -> Iterator[Stop]:
    known = asked.known
    given = {of: at for of, at in known.consented_at.items() if not is_to_come(at, now)}
    beside = Beside(packs.revoked_with(asked.channel, asked.places), asked.address.lookup) if known.suppressions else ALONE
    return stops(known.suppressions, asked.channel, given, _purposes(asked), beside=beside)


def zones(asked: Asked) -> tuple[str, ...] | None:
    """Return the borrower's zone, else those of the loans, else None: unknown."""
    if asked.known.profile is not None and asked.known.profile.timezone:
        return (asked.known.profile.timezone,)
    return tuple(sorted({debt.timezone for debt in asked.debts})) or None


def _consents(asked: Asked, now: datetime) -> frozenset[Channel]:
    known = asked.known
    given = {of: known.consented_at.get(of) for of in known.consents}
    return consented(given, known.withdrawn, asked.request.purpose, now)


def _preferences(asked: Asked, now: datetime) -> Preferences:
    """Return what the borrower asked for; withdrawing a consent closes the channel, even where no rule requires consent."""
    wishes = asked.known.wishes.preferences() if asked.known.wishes else Preferences()
    closed = taken_back(asked.known.withdrawn, asked.request.purpose, _consents(asked, now))
    return replace(wishes, no_channels=wishes.no_channels | closed) if closed else wishes


def _purposes(asked: Asked) -> tuple[str, ...]:
    """Return the purposes whose consent covers this contact."""
    return consents_to(asked.request.purpose)


def _stops(known: Known) -> Sequence[Stop]:
    return [*map(_of_status, known.statuses), *map(_of_hold, known.holds)]


def _of_status(status: Status) -> Stop:
    kind = StopKind(status.status)
    return Stop(kind, STOPS[kind].scope, status.since, status.until)


def _of_hold(hold: Hold) -> Stop:
    kind = StopKind(hold.stop)
    narrowed = StopScope.CHANNEL if hold.channel else StopScope.DEBT if hold.loan_id else None
    return Stop(
        kind, narrowed or STOPS[kind].scope, hold.since, hold.until, channel=hold.channel, debt=hold.loan_id,
        contacts=StopContacts(hold.contacts),
    )  # fmt: skip


def _passes(stop: Stop, purpose: Purpose) -> bool:
    row = STOPS[stop.kind]
    return (stop.contacts or row.contacts) is StopContacts.LIMITED and purpose in row.passes


def _debt_facts(debt: OverdueFact, now: datetime) -> DebtFacts:
    since = debt.past_due_days_from
    return DebtFacts(
        past_due_days=(local_date(debt, now) - since).days if since else None,
        principal=debt.outstanding.principal,
        product=debt.product,
        due_on=debt.anchor.due_on if debt.anchor else None,
    )
