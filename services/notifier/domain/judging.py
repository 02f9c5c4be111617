"""May this delivery go out now? Decided afresh each time, under the borrower's lock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from libs.common.contracts.borrower_profiles import BorrowerProfile, SealedAddress
from libs.common.contracts.overdue_facts import OverdueFact
from libs.common.value import Value
from libs.compliance import Deny, Packs, RuleKind, word_of
from libs.compliance.daily import free_at
from services.notifier.domain.daily import put_off
from services.notifier.domain.delivery import Delivery
from services.notifier.domain.gatekeeping import Asked, Earlier, ask, kept, only_sandbox, unstopped, zones
from services.notifier.domain.known import Known
from services.notifier.domain.owed import behind, needs_debt, none_left, still_owed
from services.notifier.domain.suppressions import is_out
from services.notifier.domain.verdicts import Decision, Defer, Expire, Fail, Send, Suppress, Verdict, Wait

PIPELINE_AGAIN = timedelta(seconds=1)
SWITCH_AGAIN = timedelta(seconds=5)
COUNTED = frozenset({RuleKind.CAP, RuleKind.SPACING, RuleKind.COOL_OFF, RuleKind.CHANNEL_LOCK})
"""Rules that count contacts made earlier, or slots held for people."""
NO_ADDRESS = "no_address"
NO_PROVIDER = "no_provider"
"""No provider carries the channels on which the borrower has an address."""
SANDBOX_ONLY = "sandbox_only"
"""Real providers would carry it to an example jurisdiction, where nobody real may be contacted."""


class Scene(Value, frozen=True):
    """The borrower's situation at the time of the claim."""

    known: Known
    places: tuple[str, ...]
    """The jurisdictions named by any source."""
    pipeline: str | None
    """`pipeline_stale` or `feed_stale` while facts may not be fresh."""
    switched_off: frozenset[str]
    """Channels on which nothing may start; `*` means all."""
    shadowed: frozenset[str]
    """Channels on which decisions are recorded but nothing is sent; `*` means all."""
    channels: Mapping[str, bool]
    """Channels that have a provider, and whether they have only sandboxes."""
    resting: frozenset[str]
    """Channels on which every provider is paused or down."""
    earlier: Callable[[str], Earlier]
    """Returns the contacts that count for an address, by its lookup."""
    packs: Packs
    down: frozenset[str] = frozenset()
    """Channels on which a provider that is not paused has an open breaker, which ends by itself."""
    dunned: tuple[datetime, ...] = ()
    """When the borrower was sent dunning messages of other tasks, in any case."""


def judge(delivery: Delivery, scene: Scene, now: datetime) -> Verdict:
    """Return the verdict on a delivery that is due."""
    request, known = delivery.request, scene.known
    if now >= request.expires_at:
        return Expire()
    if "*" in scene.switched_off:
        return Defer(now + SWITCH_AGAIN, "switched_off", passing=True)
    if scene.pipeline is not None:
        return Defer(now + PIPELINE_AGAIN, scene.pipeline, passing=True)
    if known.profile is None:
        return Suppress("erased") if known.erased else Wait("profile_unknown")
    if behind(request, known.facts):
        return Wait("facts_behind")
    return _about_debts(delivery, scene, now)


def usable(
    delivery: Delivery, known: Known, debts: tuple[OverdueFact, ...], *, places: tuple[str, ...], channels: Mapping[str, bool], packs: Packs
) -> list[Asked]:
    """Return questions for the gate, in the request's order, for each channel that is not spent and has a provider and an address."""
    request, profile = delivery.request, known.profile
    if profile is None:
        return []
    sandbox_only = only_sandbox(places, packs)
    return [
        Asked(request, known, channel, address, debts, places)
        for channel in request.channels
        if channel not in delivery.spent
        and channel in channels
        and (channels[channel] or not sandbox_only)
        and (address := _address(profile, known, channel, request.purpose)) is not None
    ]


def _about_debts(delivery: Delivery, scene: Scene, now: datetime) -> Verdict:
    request, facts = delivery.request, scene.known.facts
    owed = still_owed(request, facts, now)
    if not owed.debts and owed.in_doubt:
        return Wait("in_doubt")
    if not owed.debts and needs_debt(request):
        ends = [fact.resting_until for fact in owed.resting if fact.resting_until is not None]
        return Defer(min(ends), "payment_pending") if ends else Suppress(none_left(request, facts))
    return _at_the_gate(delivery, scene, unstopped(owed.debts, request, scene.known, now), now)


def _at_the_gate(delivery: Delivery, scene: Scene, debts: tuple[OverdueFact, ...], now: datetime) -> Verdict:
    """Return the first lawful channel in the request's order, else when one will be lawful; a resting channel is waited for briefly."""
    channels = usable(delivery, scene.known, debts, places=scene.places, channels=scene.channels, packs=scene.packs)
    if not channels:
        return Fail(delivery.reason if delivery.spent and delivery.reason else _no_way(delivery, scene))
    closed, waited_for = scene.switched_off | scene.resting, set[str]()
    denied: list[Decision] = []
    words: list[str] = []
    for asked in channels:
        answer = ask(asked, scene.earlier(asked.address.lookup), scene.packs, now=now)
        decision = kept(answer, asked, now)
        if isinstance(answer, Deny):
            denied.append(decision)
            words.append(word_of(answer.reasons))
        elif (full := _full_day(asked, scene, decision, now)) is not None:
            return full
        elif asked.channel in closed:
            waited_for.add(asked.channel)
        else:
            return Send(asked.channel, asked.address, debts, decision, answer.asks)
    if waited_for:
        return Defer(now + SWITCH_AGAIN, _why_resting(scene, waited_for), tuple(denied), passing=True)
    return _denied(channels, denied, words, scene)


def _denied(channels: Sequence[Asked], denied: Sequence[Decision], words: Sequence[str], scene: Scene) -> Defer | Suppress:
    """Return when the first channel may be lawful, after the rules have denied them all."""
    ends = [(decision.earliest, word) for decision, word in zip(denied, words, strict=True) if decision.earliest is not None]
    if not ends:
        return Suppress(words[0], tuple(denied))
    earliest, word = min(ends)
    return Defer(min([earliest, *_slots(channels, denied, scene)]), word, tuple(denied))


def _no_way(delivery: Delivery, scene: Scene) -> str:
    """Return why no channel of a request can be put to the gate."""
    request, profile = delivery.request, scene.known.profile
    if profile is None:
        return NO_ADDRESS
    left = [one for one in request.channels if one not in delivery.spent]
    addressed = {one for one in left if _address(profile, scene.known, one, request.purpose) is not None}
    if not addressed:
        return NO_ADDRESS
    return SANDBOX_ONLY if addressed & scene.channels.keys() else NO_PROVIDER


def _slots(channels: Sequence[Asked], denied: Sequence[Decision], scene: Scene) -> list[datetime]:
    """Return when slots held for people lapse, if a counting rule applied: it may then count fewer."""
    if not any(kind in COUNTED for decision in denied for kind in decision.kinds):
        return []
    return [lapse for asked in channels for lapse in scene.earlier(asked.address.lookup).lapse_at]


def _full_day(asked: Asked, scene: Scene, decision: Decision, now: datetime) -> Defer | None:
    """Return the deferral of a dunning message when another case has already sent today's."""
    limit = scene.known.house.dunning_a_day
    if limit is None or asked.request.purpose != "dunning":
        return None
    until = free_at(scene.dunned, limit, zones(asked) or ("UTC",), now)
    return None if until is None else put_off(decision, until, limit)


def _why_resting(scene: Scene, channels: set[str]) -> str:
    if not channels & scene.resting:
        return "switched_off"
    return "provider_down" if channels & scene.resting & scene.down else "provider_paused"


def _address(profile: BorrowerProfile, known: Known, channel: str, purpose: str) -> SealedAddress | None:
    """Return the address to use: the one with the lowest priority number among those for this purpose not known to be invalid."""
    fitting = [
        a for a in profile.addresses
        if a.channel == channel and (a.purposes is None or purpose in a.purposes) and not is_out(a, known.suppressions)
    ]  # fmt: skip
    return min(fitting, key=lambda a: a.priority, default=None)
