"""The overdue report, streamed from one snapshot in memory that does not grow with the number of loans."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from starlette.types import Send

from libs.common import logs
from libs.common.clock import Clock, stopwatch
from libs.common.db.engine import snapshot
from libs.common.errors import DomainError
from libs.common.moments import Day, Moment
from libs.common.problems import PROBLEM
from services.ingest import reporting
from services.ingest.report_forms import MEDIA, Form, FormName, form_of
from services.ingest.reporting import Asked, Head, Totals
from services.ingest.routes.loans import Reader
from services.ingest.store.products import ProductBook

AT_ONCE = 2
"""Reports at once in one process: each holds a connection that the intake could use."""
READER_S = 600.0
"""How long in total the snapshot waits for a slow reader: the database cannot vacuum behind it meanwhile.

A single pause of more than a minute ends it too (`IDLE_IN_TRANSACTION_TIMEOUT` of the engine).
"""


class ReportCutError(Exception):
    """The reader was too slow; the connection is cut, so that half a report is never mistaken for a whole one."""


@dataclass(slots=True)
class Reporter:
    """Makes reports."""

    engine: AsyncEngine
    clock: Clock
    products: ProductBook
    reader_s: float = READER_S
    running: int = field(default=0, init=False)

    async def stream(self, asked: Asked, form: Form) -> AsyncGenerator[bytes, None]:
        """Yield a report; it ends when the reader goes away, and with an error if the reader stays but does not read."""
        if self.running >= AT_ONCE:
            raise DomainError(429, "too_many_reports", f"{AT_ONCE} reports are already running here", headers={"Retry-After": "10"})
        self.running += 1
        try:
            async with snapshot(self.engine) as conn:
                waited = 0.0
                async for piece in self._pieces(conn, asked, form):
                    began = stopwatch()
                    yield piece
                    waited += stopwatch() - began
                    if waited > self.reader_s:
                        logs.get("report").warning("report_cut", tenant=asked.tenant, seconds=round(waited))
                        raise ReportCutError(f"the reader kept a snapshot waiting for {waited:.0f} s")
        finally:
            self.running -= 1

    async def _pieces(self, conn: AsyncConnection, asked: Asked, form: Form) -> AsyncIterator[bytes]:
        now, totals = await self.clock.at(conn), Totals()
        yield form.begin(Head.of(asked, now))
        async for page in reporting.pages(conn, asked, now, self.products):
            totals.add(page)
            if piece := await asyncio.to_thread(form.add, page.lines):
                yield piece
        yield await asyncio.to_thread(form.end, totals)


class _Streamed(StreamingResponse):
    """Closes its source however it ends, so that the snapshot ends with the reader."""

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes, None], headers: dict[str, str], media_type: str) -> None:
        super().__init__(self._all(first, rest), headers=headers, media_type=media_type)
        self._rest = rest

    async def stream_response(self, send: Send) -> None:
        """Send all of it."""
        async with aclosing(self._rest):
            await super().stream_response(send)

    @staticmethod
    async def _all(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        yield first
        async for piece in rest:
            yield piece


def routes_of(reporter: Reporter) -> APIRouter:
    """Return the route of the overdue report."""
    router = APIRouter(tags=["report"])
    content: dict[str, dict[str, object]] = {media.partition(";")[0]: {} for media in MEDIA.values()}

    @router.get(
        "/v1/overdue-report",
        summary="Everything overdue, streamed, with totals per bucket and currency",
        description=__doc__,
        response_class=StreamingResponse,
        responses={200: {"content": content}, 429: {"content": {PROBLEM: {}}}},
    )
    async def get_report(  # the filters of the contract
        caller: Reader,
        *,
        as_of: Day | None = None,
        known_at: Moment | None = None,
        bucket: str | None = None,
        product: str | None = None,
        form: Annotated[FormName, Query(alias="format")] = "json",
    ) -> StreamingResponse:
        asked = Asked(caller.tenant, as_of, known_at, bucket, product)
        rest = reporter.stream(asked, await asyncio.to_thread(form_of, form))
        first = await anext(rest)  # an error before the first byte is still a problem document
        name = asked.file_name("overdue", as_of or reporter.clock.now().astimezone(UTC).date())
        headers = {} if form == "json" else {"Content-Disposition": f'attachment; filename="{name}.{form}"'}
        return _Streamed(first, rest, headers, MEDIA[form])

    return router
