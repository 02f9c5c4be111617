"""Telephone numbers and moments as providers in mainland China write them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

HERE = timezone(timedelta(hours=8))
_MOBILE = re.compile(r"1[3-9][0-9]{9}")


def moment(written: object) -> datetime | None:
    """Return a moment that is written in Beijing's time, without an offset."""
    try:
        return datetime.strptime(str(written), "%Y-%m-%d %H:%M:%S").replace(tzinfo=HERE)
    except ValueError:
        return None


def is_bare(number: str) -> bool:
    """Return whether a number has the form of a mobile one of the mainland without its country code; some of America's have it too."""
    return _MOBILE.fullmatch(number) is not None


def sender(number: str) -> str:
    """Return the number of somebody who answers: only those of the mainland can."""
    return f"+86{number}" if is_bare(number) else number


def bare(number: str) -> str:
    """Return a number, country code first and without its plus, as it is asked about: one of the mainland without that code."""
    local = number.removeprefix("86")
    return local if is_bare(local) else number
