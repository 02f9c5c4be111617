"""One dunning message a day across all cases of a borrower."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.compliance.daily import ONCE_A_DAY, free_at
from libs.compliance.house import House
from services.notifier.domain.tenant import TenantSettings
from services.notifier.domain.verdicts import Defer, Send
from tests.unit.notifier.test_judging import a_scene, known, verdict
from tests.unit.notifier.values import MORNING, NIGHT, a_profile

ZONES = st.sampled_from(["Asia/Shanghai", "America/New_York", "America/Sao_Paulo", "Pacific/Apia", "Africa/Cairo", "Asia/Beirut"])
MIDNIGHT = datetime(2026, 11, 25, tzinfo=ZoneInfo("Asia/Shanghai"))
EARLIER = (MORNING - timedelta(hours=1),)


@given(
    earlier=st.lists(st.integers(-5000, 0), max_size=6), limit=st.integers(1, 3), zones=st.lists(ZONES, min_size=1, max_size=3),
    after=st.integers(0, 500_000),
)  # fmt: skip
def test_no_day_of_any_zone_has_more_than_the_limit_and_it_ends_with_the_day(
    earlier: list[int], limit: int, zones: list[str], after: int
) -> None:
    now = MORNING + timedelta(minutes=after)
    sent = [now + timedelta(minutes=minutes) for minutes in earlier]

    def of_day(zone: str, at: datetime) -> int:
        return sum(one.astimezone(ZoneInfo(zone)).date() == at.astimezone(ZoneInfo(zone)).date() for one in sent)

    free = free_at(sent, limit, zones, now)
    assert (free is None) == all(of_day(zone, now) < limit for zone in zones)
    if free is not None:
        assert now < free <= now + timedelta(hours=49)
        assert free_at(sent, limit, zones, free) is None
        assert free_at(sent, limit, zones, free - timedelta(seconds=1)) == free


@pytest.mark.parametrize(
    ("request_changes", "earlier", "house", "sent"),
    [
        ({}, EARLIER, House(), False),
        ({}, (), House(), True),
        ({}, (MORNING - timedelta(hours=11),), House(), True),
        ({}, EARLIER, House(dunning_a_day=2), True),
        ({}, EARLIER * 2, House(dunning_a_day=2), False),
        ({}, EARLIER, House(dunning_a_day=None), True),
        *(({"purpose": purpose}, EARLIER, House(), True) for purpose in ("notice", "answer", "confirmation")),
    ],
)
def test_a_dunning_message_waits_for_the_next_day_where_another_case_has_sent_todays(
    request_changes: dict[str, Any], earlier: tuple[datetime, ...], house: House, sent: bool
) -> None:
    found = verdict(a_scene(known(house=house), dunned=earlier), **request_changes)
    assert isinstance(found, Send if sent else Defer)
    if isinstance(found, Defer):
        assert (found.until, found.reason, found.passing) == (MIDNIGHT, ONCE_A_DAY, False)
        (decision,) = found.decisions
        assert (decision.decision, decision.channel, decision.kinds) == ("deny", "sms", ("cap",))
        (rule,) = decision.rules
        assert (rule.rule, rule.nature, rule.until) == (ONCE_A_DAY, "product_default", MIDNIGHT)
        assert rule.cite.startswith("product default")


def test_where_a_rule_of_law_speaks_it_is_that_which_is_said() -> None:
    found = verdict(a_scene(known(), dunned=(NIGHT - timedelta(hours=1),)), NIGHT)
    assert isinstance(found, Defer)
    assert found.reason != ONCE_A_DAY


def test_without_a_zone_of_the_borrower_the_days_are_those_of_the_loans() -> None:
    found = verdict(a_scene(known(profile=a_profile(timezone=None)), dunned=EARLIER))
    assert isinstance(found, Defer)
    assert found.until == MIDNIGHT


def test_a_tenant_has_one_a_day_unless_it_sets_another_number_or_none() -> None:
    assert TenantSettings().house.dunning_a_day == 1
    assert TenantSettings(dunning_a_day=3).house.dunning_a_day == 3
    assert TenantSettings(dunning_a_day=None).house.dunning_a_day is None
