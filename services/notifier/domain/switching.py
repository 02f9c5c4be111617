"""The stop button: which contacts one position of it concerns."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from libs.common.contracts.contact_tasks import ContactRequested
from libs.common.value import Value

EVERY_CHANNEL = "*"


class Scope(StrEnum):
    """What a position of the switch is for."""

    ALL = "all"
    TENANT = "tenant"
    POLICY = "policy"
    STEP = "step"
    TEMPLATE = "template"
    CHANNEL = "channel"
    REGION = "region"


KEYLESS = frozenset({Scope.ALL, Scope.TENANT})


class Position(Value, frozen=True):
    """One position of a tenant's switch: `key` names which policy, step, template, channel or region."""

    scope: str
    key: str
    contacts: str


def channels_at(positions: Iterable[Position], contacts: str, request: ContactRequested, places: tuple[str, ...]) -> frozenset[str]:
    """Return the channels on which positions of this kind (`off`, `shadow`) concern a contact in these places; `*` is all of them."""
    mine = [one for one in positions if one.contacts == contacts and _concerns(one, request, places)]
    return frozenset(one.key if one.scope == Scope.CHANNEL else EVERY_CHANNEL for one in mine)


def _concerns(one: Position, request: ContactRequested, places: tuple[str, ...]) -> bool:
    policy = request.policy
    match one.scope:
        case Scope.POLICY:
            return one.key in {policy.name, f"{policy.name}@{policy.version}"}
        case Scope.STEP:
            return one.key in {request.step, f"{policy.name}/{request.step}"}
        case Scope.TEMPLATE:
            return one.key == request.template
        case Scope.REGION:
            return not places or any(_meet(one.key, place) for place in places)
        case _:  # everybody's; and a scope that a later release has set stops too much rather than too little
            return True


def _meet(region: str, place: str) -> bool:
    """Say whether somebody in a place may be in a region: `BR-SP` is in `BR`, and who is somewhere in `BR` may be in `BR-SP`."""
    return region == place or place.startswith(f"{region}-") or region.startswith(f"{place}-")
