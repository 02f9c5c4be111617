"""Telephone numbers and times as written by providers in mainland China."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

HERE = timezone(timedelta(hours=8))
_MOBILE = re.compile(r"1[3-9][0-9]{9}")


def moment(written: object) -> datetime | None:
    """Return a time written in Beijing time without an offset."""
    try:
        return datetime.strptime(str(written), "%Y-%m-%d %H:%M:%S").replace(tzinfo=HERE)
    except ValueError:
        return None


def is_bare(number: str) -> bool:
    """Return whether a number looks like a mainland mobile number without its country code; some American numbers do too."""
    return _MOBILE.fullmatch(number) is not None


def sender(number: str) -> str:
    """Return the number of the sender of a reply: only mainland numbers can reply."""
    return f"+86{number}" if is_bare(number) else number


def bare(number: str) -> str:
    """Return a number (country code first, no plus) in the form used in queries: mainland numbers without their country code."""
    local = number.removeprefix("86")
    return local if is_bare(local) else number
