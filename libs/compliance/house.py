"""How a tenant wants its contacts to be judged."""

from __future__ import annotations

from libs.common.value import Value
from libs.compliance.circumstances import TenantHours
from libs.compliance.vocabulary import Profile, Role


class House(Value, frozen=True):
    """How a tenant's contacts are judged: by which profile, in which role, within which hours of its own, how often a day."""

    profile: Profile = Profile.STRICT
    role: Role = Role.FIRST_PARTY
    hours: TenantHours | None = None
    dunning_a_day: int | None = 1
    """Dunning messages a day to one borrower across all cases; None: as many as the rules allow."""


def house_of(profile: str, role: str, hours: dict[str, str] | None, dunning_a_day: int | None) -> House:
    """Return the house a tenant has set; hours that cannot be read raise ValueError."""
    try:
        own = None if hours is None else TenantHours.parse(hours)
    except ValueError as error:
        raise ValueError(f"tenant_hours: {error}") from error
    return House(Profile(profile), Role(role), own, dunning_a_day)
