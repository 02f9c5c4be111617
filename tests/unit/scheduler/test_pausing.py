"""Which days a hold pauses a loan's clock, counted as ingest does: the first included, the last excluded."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import pytest

from services.scheduler.domain.stops import Hold, Stop
from services.scheduler.pausing import Release, Telling, clocks_paused, clocks_resumed
from tests.unit.scheduler.build import case, debt, local


def _held(begins: datetime, ends: datetime | None) -> Stop:
    return Stop("h1", "hardship", begins, ends, hold=Hold("c1", paused=("L1",)))


def _told(stop: Stop, now: datetime, *, ended: bool) -> list[tuple[str, Any, Any]]:
    on = Telling(1, "default", now)
    found = clocks_resumed(case(debt()), Release(stop, "over"), on) if ended else clocks_paused(case(debt()), stop, on)
    values = [(dict(message.headers)["ce_type"].decode(), msgspec.json.decode(message.value or b"")) for message in found]
    return [(kind.split(".")[2], said.get("from"), said.get("until")) for kind, said in values]


@pytest.mark.parametrize(
    ("begins", "ends", "days"),
    [
        (local(0, 10), None, ("2026-11-01", None)),
        (local(0, 10), local(3, 10), ("2026-11-01", "2026-11-04")),
        (local(0, 10), local(3, 0), ("2026-11-01", "2026-11-04")),
        (local(0, 0), local(1, 0), ("2026-11-01", "2026-11-02")),
        (local(0, 10), local(0, 20), None),
    ],
)
def test_a_clock_rests_from_the_first_day_of_a_hold_until_the_one_on_which_it_ends(
    begins: datetime, ends: datetime | None, days: tuple[str, str | None] | None
) -> None:
    assert _told(_held(begins, ends), begins, ended=False) == ([] if days is None else [("paused", *days)])


@pytest.mark.parametrize(
    ("ends", "now", "told"),
    [
        (None, local(3, 10), ["paused", "retracted"]),
        (local(9, 0), local(0, 20), ["retracted"]),
        (local(9, 0), local(-1, 20), ["retracted"]),
        (local(9, 0), local(9, 0), []),
        (local(0, 20), local(0, 15), []),
    ],
)
def test_a_pause_that_ends_early_is_said_again_until_today_and_taken_back_and_none_is_ended_by_a_resume(
    ends: datetime | None, now: datetime, told: list[str]
) -> None:
    said = _told(_held(local(0, 10), ends), now, ended=True)
    assert [kind for kind, _, _ in said] == told
    assert [until for kind, _, until in said if kind == "paused"] == ["2026-11-04"] * told.count("paused")
