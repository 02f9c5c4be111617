"""What travels as one string is in the database what it was."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.db.arrays import in_microseconds, moment_of, moments, wording, words

OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2199, 12, 30), timezones=OFFSETS)  # noqa: DTZ001  # Hypothesis adds the zone
WORDS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=5)
_BOTH = text(
    f"select {moment_of('m')}, w from unnest({moments('given')}, {words('said')}) with ordinality as n(m, w, place) order by place"
)
_READ = text(f"select {moment_of('m')} from unnest({moments('given')}) with ordinality as n(m, place) order by place")


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(MOMENTS, max_size=40))
async def test_a_moment_of_any_year_and_zone_keeps_its_microsecond(engine: AsyncEngine, values: list[datetime]) -> None:
    async with engine.connect() as conn:
        assert (await conn.execute(_READ, {"given": in_microseconds(values)})).scalars().all() == values


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.none() | MOMENTS, WORDS), max_size=40))
async def test_moments_may_be_missing_and_words_empty_in_any_row(engine: AsyncEngine, rows: list[tuple[datetime | None, str]]) -> None:
    given_ = {"given": in_microseconds([moment for moment, _ in rows]), "said": wording([word for _, word in rows])}
    async with engine.connect() as conn:
        assert [tuple(row) for row in await conn.execute(_BOTH, given_)] == rows


@pytest.mark.parametrize("word", ["a\x1fb", "\x1e", "\x1d"])
def test_a_word_that_holds_a_separator_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="control character"):
        wording(["a", word, ""])
