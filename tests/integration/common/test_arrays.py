"""Moments that travel as one string are in the database what they were."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.db.arrays import in_microseconds, moment_of, moments

OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2199, 12, 30), timezones=OFFSETS)  # noqa: DTZ001  # Hypothesis adds the zone
_READ = text(f"select {moment_of('m')} from unnest({moments('given')}) with ordinality as n(m, place) order by place")


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(MOMENTS, max_size=40))
async def test_a_moment_of_any_year_and_zone_keeps_its_microsecond(engine: AsyncEngine, values: list[datetime]) -> None:
    async with engine.connect() as conn:
        assert (await conn.execute(_READ, {"given": in_microseconds(values)})).scalars().all() == values
