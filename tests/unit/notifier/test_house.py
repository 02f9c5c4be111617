"""What a tenant sets of how it is judged, as the gate is asked."""

from __future__ import annotations

import msgspec
import pytest

from libs.compliance import Profile, Role, TenantHours
from services.notifier.domain.known import House
from services.notifier.domain.tenant import TenantSettings


def test_a_tenant_that_sets_nothing_is_judged_strictly_as_the_lender_and_by_the_laws_hours_alone() -> None:
    assert TenantSettings().house == House(Profile.STRICT, Role.FIRST_PARTY, None)


def test_what_is_set_is_what_the_gate_is_asked_by() -> None:
    said = b'{"profile": "legal_floor", "role": "agency", "tenant_hours": {"mon-fri": "09:00-18:00"}}'
    house = msgspec.json.decode(said, type=TenantSettings).house
    assert house == House(Profile.LEGAL_FLOOR, Role.AGENCY, TenantHours.parse({"mon-fri": "09:00-18:00"}))


@pytest.mark.parametrize("hours", [{"mon": "20:00-08:00"}, {"mon-fri": "9-18"}, {"mon": "08:00-10:00", "mon-sat": "09:00-11:00"}])
def test_hours_that_cannot_be_read_are_refused(hours: dict[str, str]) -> None:
    with pytest.raises(msgspec.ValidationError, match="tenant_hours"):
        msgspec.convert({"tenant_hours": hours}, TenantSettings)
