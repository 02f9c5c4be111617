"""Days and moments as callers write them, in URLs and in bodies: one spelling each, and no numbers."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field

from libs.common.contracts.values import FIRST_DAY, LAST_DAY


def _spelled_out(day: object) -> object:
    if not isinstance(day, date) and not (isinstance(day, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", day, re.ASCII)):
        raise ValueError("a date is YYYY-MM-DD")
    return day


Day = Annotated[date, BeforeValidator(_spelled_out), Field(ge=FIRST_DAY, le=LAST_DAY)]
"""A day of the contract's calendar."""


def _with_offset(moment: object) -> object:
    if isinstance(moment, datetime):
        return moment
    if not isinstance(moment, str) or not re.match(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d", moment, re.ASCII):
        raise ValueError("a moment is RFC 3339 with an offset")
    return re.sub(r" (?=\d\d:\d\d$)", "+", moment)


def _in_every_zone(moment: datetime) -> datetime:
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("a moment outside the calendar") from None
    return moment


Moment = Annotated[AwareDatetime, BeforeValidator(_with_offset), AfterValidator(_in_every_zone)]
"""A moment; in a URL, an offset's unescaped plus arrives as a space."""
