"""What travels as one string is in the database what it was."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.db.arrays import in_microseconds, listed, listing, moment_of, moments, wording, words

OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2199, 12, 30), timezones=OFFSETS)  # noqa: DTZ001  # Hypothesis adds the zone
WORDS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=5)
NUMBERS = st.integers(-(2**63), 2**63 - 1)
_ALL = text(
    f"select {moment_of('m')}, w, i, b from unnest({moments('given')}, {words('said')}, {listing('bigint')('counted')},"
    f" {listing('boolean')('held')}) with ordinality as n(m, w, i, b, place) order by place"
)
_READ = text(f"select {moment_of('m')} from unnest({moments('given')}) with ordinality as n(m, place) order by place")


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(MOMENTS, max_size=40))
async def test_a_moment_of_any_year_and_zone_keeps_its_microsecond(engine: AsyncEngine, values: list[datetime]) -> None:
    async with engine.connect() as conn:
        assert (await conn.execute(_READ, {"given": in_microseconds(values)})).scalars().all() == values


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.none() | MOMENTS, WORDS, st.none() | NUMBERS, st.none() | st.booleans()), max_size=40))
async def test_words_may_be_empty_and_all_else_missing_in_any_row(
    engine: AsyncEngine, rows: list[tuple[datetime | None, str, int | None, bool | None]]
) -> None:
    given_, said, counted, held = ([row[at] for row in rows] for at in range(4))
    values = {"given": in_microseconds(given_), "said": wording(said), "counted": listed(counted), "held": listed(held)}  # type: ignore[arg-type]  # each is of one type
    async with engine.connect() as conn:
        assert [tuple(row) for row in await conn.execute(_ALL, values)] == rows


@pytest.mark.parametrize("word", ["a\x1fb", "\x1e", "\x1d"])
def test_a_word_that_holds_a_separator_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="control character"):
        wording(["a", word, ""])
