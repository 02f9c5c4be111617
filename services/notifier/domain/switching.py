"""The stop button: which contacts each of its positions concerns."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from libs.common.contracts.contact_tasks import ContactRequested, PolicyRef
from libs.common.slips import near
from libs.common.value import Value

EVERY_CHANNEL = "*"


class Scope(StrEnum):
    """What a position of the switch applies to."""

    ALL = "all"
    TENANT = "tenant"
    POLICY = "policy"
    STEP = "step"
    TEMPLATE = "template"
    CHANNEL = "channel"
    REGION = "region"


KEYLESS = frozenset({Scope.ALL, Scope.TENANT})
UNCHECKED = frozenset({Scope.POLICY, Scope.STEP, Scope.TEMPLATE})
"""Scopes whose keys the notifier cannot check: a typo shows in what is waiting, and is never refused."""
LONGEST_HINT = 300


class Position(Value, frozen=True):
    """One position of a tenant's switch: `key` names the policy, step, template, channel or region."""

    scope: str
    key: str
    contacts: str


def channels_at(positions: Iterable[Position], contacts: str, request: ContactRequested, places: tuple[str, ...]) -> frozenset[str]:
    """Return the channels on which positions of this kind (`off`, `shadow`) apply to a contact in these places; `*` means all."""
    mine = [one for one in positions if one.contacts == contacts and _concerns(one, request, places)]
    return frozenset(one.key if one.scope == Scope.CHANNEL else EVERY_CHANNEL for one in mine)


class Waiting(Value, frozen=True):
    """A number of waiting contacts of the same step."""

    policy: PolicyRef
    step: str
    template: str
    number: int


def concerned(one: Position, waiting: Iterable[Waiting]) -> int:
    """Return how many of these contacts a position of an unchecked scope applies to."""
    return sum(each.number for each in waiting if one.key in _names(one.scope, each))


def slip(one: Position, waiting: Iterable[Waiting]) -> str | None:
    """Return a hint about a position that applies to none of the waiting contacts."""
    waiting = tuple(waiting)
    number = sum(each.number for each in waiting)
    if concerned(one, waiting):
        return None
    if not number:
        return f"no contact is waiting, so it cannot be seen whether there is a {one.scope} {one.key!r}"
    names = {name for each in waiting for name in _names(one.scope, each)}
    known = sorted({name for name in names if _form(name) == _form(one.key)} or names)
    return f"none of the {number} contacts due first is of the {one.scope} {one.key!r}: {_near(one.key, known)}"


def nothing_to_lift(one: Position, before: Iterable[Position]) -> str | None:
    """Return a hint about turning a key to `on` when nothing was stopped under it."""
    stopped = sorted({each.key for each in before if each.scope == one.scope and each.contacts != "on"})
    if one.contacts != "on" or one.scope in KEYLESS or one.key in stopped:
        return None
    others = _near(one.key, stopped) if stopped else f"no {one.scope} was"
    return f"the {one.scope} {one.key!r} was not stopped: {others}"


def _near(key: str, known: list[str]) -> str:
    said = near(key, known)
    return said if len(said) <= LONGEST_HINT else f"{said[:LONGEST_HINT]}..."


def _form(name: str) -> tuple[bool, bool]:
    """Return how a key is written: whether with a policy before it, and with a version after it."""
    return "/" in name, "@" in name


def _names(scope: str, of: ContactRequested | Waiting) -> tuple[str, ...]:
    """Return the keys under which a position of this scope applies to a contact."""
    match scope:
        case Scope.POLICY:
            return of.policy.name, f"{of.policy.name}@{of.policy.version}"
        case Scope.STEP:
            return of.step, f"{of.policy.name}/{of.step}"
        case _:
            return (of.template,)


def _concerns(one: Position, request: ContactRequested, places: tuple[str, ...]) -> bool:
    match one.scope:
        case Scope.POLICY | Scope.STEP | Scope.TEMPLATE:
            return one.key in _names(one.scope, request)
        case Scope.REGION:
            return not places or any(_may_overlap(one.key, place) for place in places)
        case _:  # everyone's; a scope from a later release stops too much rather than too little
            return True


def _may_overlap(region: str, place: str) -> bool:
    """Return whether somebody in a place may be in a region: `BR-SP` is in `BR`, and somebody somewhere in `BR` may be in `BR-SP`."""
    return region == place or place.startswith(f"{region}-") or region.startswith(f"{place}-")
