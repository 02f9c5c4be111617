"""How a tenant wants its contacts to be judged."""

from __future__ import annotations

from libs.common.value import Value
from libs.compliance import Profile, Role, TenantHours


class House(Value, frozen=True):
    """How the tenant wants to be judged: by which reading, as whom, and within which hours of its own."""

    profile: Profile = Profile.STRICT
    role: Role = Role.FIRST_PARTY
    hours: TenantHours | None = None
