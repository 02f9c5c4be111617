"""A tenant's settings for how it is judged, as they reach the gate."""

from __future__ import annotations

import msgspec
import pytest

from libs.compliance import Profile, Role, TenantHours
from libs.compliance.house import House
from services.notifier.domain.tenant import TenantSettings
from services.notifier.domain.verdicts import Send
from tests.unit.notifier.test_judging import a_scene, known, verdict
from tests.unit.notifier.values import NIGHT, a_fact, a_profile


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


@pytest.mark.parametrize(
    ("house", "bound"),
    [
        (House(), True),
        (House(Profile.LEGAL_FLOOR, Role.AGENCY), True),
        (House(Profile.LEGAL_FLOOR, Role.FIRST_PARTY), False),
        (House(Profile.LEGAL_FLOOR, Role.FIRST_PARTY, TenantHours.parse({"every": "12:00-12:01"})), True),
    ],
)
def test_the_gate_judges_a_delivery_by_it(house: House, *, bound: bool) -> None:
    """Regulation F binds collectors of other people's debts; read strictly, its hours apply to the lender as well."""
    scene = a_scene(known(a_fact(jurisdictions=("US-FED-REGF",)), profile=a_profile(jurisdictions=("US-FED-REGF",)), house=house))
    assert isinstance(verdict(scene, NIGHT, jurisdictions=("US-FED-REGF",)), Send) is not bound
