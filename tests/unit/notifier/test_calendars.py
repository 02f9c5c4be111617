"""Holiday calendars end, and whoever runs the notifier is told before they do."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog

from libs.common.metrics import Metrics
from libs.compliance import load_packs
from services.notifier.calendars import Calendars
from services.notifier.metrics import NotifierMetrics

PACKS = load_packs()
PLACES = ["BR-SP", "TH", "CN", "ZZ", "ATLANTIS"]
"""A region, a calendar of two years, hours without holidays, the example pack, and a place without a pack."""


def test_of_the_packs_in_use_it_is_shown_when_their_holidays_end_and_said_once_when_that_is_soon() -> None:
    metrics = Metrics()
    calendars = Calendars(PACKS, NotifierMetrics.of(metrics, ()).holidays_end)
    with structlog.testing.capture_logs() as said:
        for at in (datetime(2027, 10, 4, tzinfo=UTC), datetime(2027, 10, 5, tzinfo=UTC)):
            calendars.note(PLACES, at)
    assert [(line["event"], line["reason"]) for line in said] == [("holidays_end", "TH: no holidays are known after 2027-12-31")]
    shown = {
        sample.labels["pack"]: datetime.fromtimestamp(sample.value, UTC)
        for family in metrics.registry.collect() if family.name == "dunwell_holidays_end_timestamp_seconds" for sample in family.samples
    }  # fmt: skip
    assert shown == {"BR": datetime(2041, 1, 1, tzinfo=UTC), "TH": datetime(2028, 1, 1, tzinfo=UTC)}


def test_a_list_that_ends_later_is_shown_and_not_warned_of() -> None:
    with structlog.testing.capture_logs() as said:
        Calendars(PACKS, NotifierMetrics.of(Metrics(), ()).holidays_end).note(PLACES, datetime(2027, 10, 1, tzinfo=UTC))
    assert said == []
