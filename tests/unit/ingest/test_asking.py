"""Days and moments in query parameters."""

import pytest
from pydantic import TypeAdapter, ValidationError

from libs.common.moments import Day, Moment

read, read_day = TypeAdapter(Moment).validate_python, TypeAdapter(Day).validate_python


@pytest.mark.parametrize(
    "spelling", ["2026-11-01T08:00:00 08:00", "2026-11-01T08:00:00+08:00", "2026-11-01T00:00:00Z", "2026-10-31T14:00:00-10:00"]
)
def test_a_plus_that_nobody_escaped_is_still_the_offsets(spelling: str) -> None:
    assert read(spelling) == read("2026-11-01 00:00:00.000Z")


@pytest.mark.parametrize(
    "spelling", ["1700000000", "2026-11-01", "2026-11-01 08:00", "2026-11-01T08:00:00", "2026-11-01T08:00Z", "", 1700000000]
)
def test_a_moment_without_its_offset_or_its_time_is_refused(spelling: object) -> None:
    with pytest.raises(ValidationError):
        read(spelling)
    with pytest.raises(ValidationError):
        read_day(f"{spelling}T" if spelling == "2026-11-01" else spelling)
