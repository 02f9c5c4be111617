"""What a fact says of past days, as attributes and back."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.bus.ports import Record
from libs.common.cloudevents import Envelope, Reader, Writer
from libs.common.contracts import corrections
from libs.common.contracts.catalogue import FACTS
from libs.common.contracts.corrections import CorrectedDays
from libs.common.contracts.overdue_facts import DebtWatermark
from libs.common.errors import PoisonError

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
ANY_DAY = st.dates(date(1970, 1, 1), date(2199, 1, 1))
spans = st.builds(
    lambda day, length, owed: CorrectedDays(day, None if length is None else day + timedelta(days=length), owed),
    ANY_DAY, st.none() | st.integers(1, 300), st.booleans(),
)  # fmt: skip


def carried(headers: tuple[tuple[str, bytes], ...]) -> Record:
    message = Writer("test", 1).message(FACTS, Envelope("debt.watermark.v1", "e", "t", NOW, "a", "s"), WATERMARK, key="k", borrower_id="b")
    return Record(message.topic, 0, 0, message.key, message.value, (*message.headers, *headers), NOW)


WATERMARK = DebtWatermark(until=NOW)


@given(days=st.lists(spans, max_size=5).map(tuple))
def test_what_is_written_is_read_again(days: tuple[CorrectedDays, ...]) -> None:
    envelope = Envelope("debt.watermark.v1", "e", "test", NOW, "a", "s", days)
    message = Writer("test", 1).message(FACTS, envelope, WATERMARK, key="k", borrower_id="b")
    headers = dict(message.headers)
    read, _ = Reader.of(FACTS).read(Record(message.topic, 0, 0, message.key, message.value, message.headers, NOW))
    assert read.corrects == days
    assert headers.get("ce_correctsfrom") == (days[0].from_on.isoformat().encode() if days else None)


def test_the_days_are_written_as_the_description_says() -> None:
    days = (CorrectedDays(date(2026, 11, 3), date(2026, 11, 5), owed=False), CorrectedDays(date(2026, 11, 9), None, owed=True))
    assert corrections.written(days)["correctsdays"] == corrections.ATTRIBUTES["correctsdays"]["examples"][0]


def test_a_fact_that_names_the_first_day_alone_corrects_all_days_since() -> None:
    read, _ = Reader.of(FACTS).read(carried((("ce_correctsfrom", b"2026-11-03"),)))
    assert read.corrects == (CorrectedDays(date(2026, 11, 3), None, owed=True),)


@pytest.mark.parametrize("bad", [b"", b"2026-11-03/=perhaps", b"yesterday/=owed", b"2026-11-03/2026-11-31=owed"])
def test_days_in_another_form_are_unreadable(bad: bytes) -> None:
    with pytest.raises(PoisonError):
        Reader.of(FACTS).read(carried((("ce_correctsfrom", b"2026-11-03"), ("ce_correctsdays", bad))))
