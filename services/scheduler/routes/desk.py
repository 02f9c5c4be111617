"""What the routes share: who the caller is, page sizes, and what moments and texts may be."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Depends, Query
from pydantic import AfterValidator, Field

from libs.common.auth import Principal, requires
from libs.common.contracts.values import moments_on_calendar
from libs.common.moments import Moment

Reader = Annotated[Principal, Depends(requires("cases:read"))]
Worker = Annotated[Principal, Depends(requires("cases:write"))]
Limit = Annotated[int, Query(ge=1, le=500)]


def _on_calendar(moment: datetime) -> datetime:
    moments_on_calendar(moment)
    return moment


OnCalendar = Annotated[Moment, AfterValidator(_on_calendar)]
LoanId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]
Words = Annotated[str, Field(max_length=4000, pattern=r"^[^\x00]*$")]
