"""Reports on past days over HTTP (contract, section 5; docs/reports.md defines each number)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from itertools import pairwise
from typing import Annotated, Literal, Self, TypeVar

import msgspec
from fastapi import APIRouter, Query, Response
from pydantic import AfterValidator, Field, model_validator
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.api import answer
from libs.common.asked import Asked
from libs.common.contracts.values import known_zone
from libs.common.errors import DomainError
from libs.common.moments import Day
from libs.common.tabular import csv_rows
from libs.common.tenant_settings import store as settings
from services.scheduler.borrower.settings import PageSettings
from services.scheduler.domain.days import begins
from services.scheduler.domain.reporting import MOST_DAYS, Days, Every, first_whole, last_over
from services.scheduler.routes.cases import Rooms
from services.scheduler.routes.desk import Reader
from services.scheduler.store import reports
from services.scheduler.store.keeping import whole_since
from services.scheduler.store.reports import Table
from services.scheduler.tables import SCHEMA

Span = TypeVar("Span", bound="SpanForm")
Read = Callable[[AsyncConnection], Awaitable[Table]]
_PRIVATE = {"Cache-Control": "private, no-store"}


def _zone(name: str) -> str:
    known_zone(name)
    return name


class SpanForm(Asked):
    """Which days, in which zone, and in which format."""

    from_: Day = Field(alias="from", ge=date(1970, 1, 2), le=date(2199, 12, 30))
    to: Day = Field(ge=date(1970, 1, 2), le=date(2199, 12, 30))
    timezone: Annotated[str, AfterValidator(_zone), Field(description="without it the tenant's `default_zone`, else UTC")] = "UTC"
    format: Literal["json", "csv"] = "json"

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if not 0 <= (self.to - self.from_).days < MOST_DAYS:
            raise ValueError(f"to must not be before from, and a report covers at most {MOST_DAYS} days")
        return self

    @property
    def days(self) -> Days:
        """Return the days."""
        return Days(self.from_, self.to, self.timezone)


class RollForm(SpanForm):
    """How far apart the compared days are."""

    every: Every = Every.DAY


class FunnelForm(SpanForm):
    """Within how many days after a message a payment counts."""

    within_days: int = Field(default=7, ge=1, le=90)


class ExperimentForm(SpanForm):
    """Within how many days of its start a spell's cure and payments count."""

    within_days: int = Field(default=30, ge=1, le=90)


def add_to(router: APIRouter, rooms: Rooms) -> None:
    """Add these routes."""
    _add_debts(router, rooms)
    _add_contacts(router, rooms)


def _add_debts(router: APIRouter, rooms: Rooms) -> None:
    @router.get("/reports/roll-rates", summary="How many debts, and how much, went from which bucket to which")
    async def roll_rates(caller: Reader, asked: Annotated[RollForm, Query()]) -> Response:
        asked = await _placed(rooms, caller.tenant, asked)
        cuts = asked.days.cuts(asked.every)
        ends = [begins(day + timedelta(days=1), asked.timezone) for day in cuts]
        portions = dict(enumerate(pairwise(cuts), start=2))

        async def read(conn: AsyncConnection) -> Table:
            found = await reports.roll_rates(conn, caller.tenant, ends)
            rows = [{**dict(zip(("after", "until"), portions[row["n"]], strict=True)), **row} for row in found.rows]
            return Table(("after", "until", *found.columns), rows).without("n")

        return await _reported(rooms, "roll-rates", asked, read)

    @router.get("/reports/cure-rates", summary="How many were cured after each step, by policy and days late")
    async def cure_rates(caller: Reader, asked: Annotated[SpanForm, Query()]) -> Response:
        asked = await _placed(rooms, caller.tenant, asked)
        days = asked.days
        return await _reported(
            rooms, "cure-rates", asked, lambda conn: reports.cure_rates(conn, caller.tenant, (days.begins, days.ends), asked.timezone)
        )

    @router.get("/reports/promises", summary="What became of promises to pay")
    async def promises(caller: Reader, asked: Annotated[SpanForm, Query()]) -> Response:
        asked = await _placed(rooms, caller.tenant, asked)
        days = asked.days
        return await _reported(
            rooms, "promises", asked, lambda conn: reports.promises(conn, caller.tenant, (days.begins, days.ends))
        )  # fmt: skip


def _add_contacts(router: APIRouter, rooms: Rooms) -> None:
    @router.get("/reports/funnel", summary="What became of each step's messages: due, requested, sent, delivered, paid")
    async def funnel(caller: Reader, asked: Annotated[FunnelForm, Query()]) -> Response:
        asked = await _placed(rooms, caller.tenant, asked)
        days, within = asked.days, timedelta(days=asked.within_days)
        return await _reported(rooms, "funnel", asked, lambda conn: reports.funnel(conn, caller.tenant, (days.begins, days.ends), within))

    @router.get("/reports/feedback", summary="Borrowers' feedback, by the step whose message led them to their page")
    async def feedback(caller: Reader, asked: Annotated[SpanForm, Query()]) -> Response:
        asked = await _placed(rooms, caller.tenant, asked)
        days = asked.days
        return await _reported(rooms, "feedback", asked, lambda conn: reports.feedback(conn, caller.tenant, (days.begins, days.ends)))

    @router.get("/reports/experiments", summary="Champion and challenger side by side")
    async def experiments(caller: Reader, asked: Annotated[ExperimentForm, Query()]) -> Response:
        asked = await _placed(rooms, caller.tenant, asked)
        days, within = asked.days, timedelta(days=asked.within_days)
        return await _reported(
            rooms, "experiments", asked, lambda conn: reports.experiments(conn, caller.tenant, (days.begins, days.ends), within)
        )  # fmt: skip


async def _placed(rooms: Rooms, tenant: str, asked: Span) -> Span:
    """Return what is asked for, in the tenant's own zone where it names none."""
    if "timezone" in asked.model_fields_set:
        return asked
    async with rooms.engine.connect() as conn:
        kept = (await settings.current(conn, SCHEMA, [tenant])).get(tenant)
    zone = msgspec.json.decode(kept.settings, type=PageSettings).default_zone if kept is not None else None
    return asked.model_copy(update={"timezone": zone}) if zone else asked


async def _reported(
    rooms: Rooms, name: str, asked: SpanForm, read: Read
) -> Response:  # fmt: skip
    """Answer with these rows once the days are over; the answer does not depend on when it was asked for."""
    async with rooms.engine.connect() as conn:
        now = await rooms.clock.at(conn)
        if not asked.days.over(now):
            last = last_over(asked.timezone, now)
            raise DomainError(
                422, "day_not_over", f"{last.isoformat()} is the last day that can be reported in this zone", last=last.isoformat()
            )
        await _check_kept(conn, asked)
        table = await read(conn)
        await _check_kept(conn, asked)  # some may have been deleted during the read
    if asked.format == "csv":
        return _csv(table, f"{name}-{asked.from_.isoformat()}-{asked.to.isoformat()}.csv")
    head = asked.model_dump(mode="json", by_alias=True, exclude={"format"})
    return answer({"report": name, **head, "items": table.rows, "next": None}, headers=_PRIVATE)


async def _check_kept(conn: AsyncConnection, asked: SpanForm) -> None:
    whole = await whole_since(conn)
    if asked.days.begins < whole:
        first = first_whole(asked.timezone, whole).isoformat()
        raise DomainError(422, "days_no_longer_kept", f"{first} is the first day that can be reported in this zone", first=first)


def _csv(table: Table, file_name: str) -> Response:
    headers = {**_PRIVATE, "Content-Disposition": f'attachment; filename="{file_name}"'}
    return Response(csv_rows([table.columns, *(row.values() for row in table.rows)]), headers=headers, media_type="text/csv; charset=utf-8")
