"""Playing the example book: real accounts on a fast clock that ends at the present moment."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice, takewhile
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import msgspec
from sqlalchemy import text

from libs.common.clock import DrivenClock
from services.embedded import Platform
from services.importer import uci

BOOK = Path(__file__).resolve().parents[1] / "examples" / "uci_500.csv"
ZONE = ZoneInfo("Asia/Taipei")
LONGEST_WAIT = timedelta(hours=12)
"""The longest an event waits after its time to be ingested, even if nothing else is due for days."""
POST_EVENTS = 5000

Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Story:
    """Events in time order, and the span over which they are played."""

    events: Sequence[dict[str, Any]]
    starts_at: datetime
    ends_at: datetime


def read_story(ends_at: datetime, *, days: int | None = None) -> Story:
    """Read the example book so that its history ends now; with `days`, anything older is ingested at once at the start."""
    events = list(uci.timeline(uci.read(BOOK), ends_at.astimezone(ZONE).date()))
    first = _time_of(events[0])
    starts_at = first if days is None else max(first, ends_at - timedelta(days=days))
    return Story(events, starts_at, ends_at)


async def play(platform: Platform, clock: DrivenClock, story: Story, progress: Progress) -> None:
    """Ingest the story's events, and let everything that falls due between them happen.

    Events up to the next due moment are ingested together: nothing could tell the difference.
    """
    waiting = deque(story.events)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(platform.ingest.app), base_url="http://demo", headers={"Authorization": "Bearer dunwell-dev"}
    ) as client:
        while waiting:
            first = max(_time_of(waiting[0]), story.starts_at)
            await _let_pass(platform, clock, first)
            due = await platform.next_due() or story.ends_at
            until = max(first, min(due, first + LONGEST_WAIT, story.ends_at))
            clock.move_to(until)
            while waiting and _time_of(waiting[0]) <= until:
                await _post(client, [waiting.popleft() for _ in range(_run_length(waiting, until))])
            await platform.settle()
            progress(min(1.0, (until - story.starts_at) / (story.ends_at - story.starts_at)))
        await _let_pass(platform, clock, story.ends_at)


def _run_length(waiting: deque[dict[str, Any]], until: datetime) -> int:
    """Return how many of the first events belong to this moment, up to the most one request may carry."""
    return sum(1 for _ in takewhile(lambda event: _time_of(event) <= until, islice(waiting, POST_EVENTS)))


async def _let_pass(platform: Platform, clock: DrivenClock, until: datetime) -> None:
    """Move the clock from one due moment to the next, up to the given one."""
    while (due := await platform.next_due()) is not None and due <= until:
        clock.move_to(due)
        await platform.settle()
    clock.move_to(until)
    await platform.settle()


async def _post(client: httpx.AsyncClient, events: Sequence[dict[str, Any]]) -> None:
    body = b"\n".join(msgspec.json.encode(event) for event in events)
    answer = await client.post("/v1/events", content=body, headers={"Content-Type": "application/x-ndjson"})
    if answer.status_code != 202 or answer.json()["rejected"]:
        raise RuntimeError(f"the example book was not accepted: {answer.text[:500]}")


def _time_of(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["time"]).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Summary:
    """What happened, as rows of a table, and the number that must be 0."""

    rows: Sequence[tuple[str, str]]
    uncontacted: int


_COUNTS = {
    "events taken in": "select 'events', count(*) from (select from ingest.events union all select from ingest.borrower_events) e",
    "debts overdue": "select coalesce(bucket, '-'), count(*) from ingest.loans where overdue_total > 0 group by 1 order by 1",
    "cases": "select state, count(*) from scheduler.cases group by 1 order by 1",
    "tasks for people": "select queue || ' ' || state, count(*) from scheduler.tasks group by 1 order by 1",
    "contact tasks": "select state, count(*) from notifier.deliveries group by 1 order by 1",
    "messages": "select channel, count(*) from notifier.sandbox_messages group by 1 order by 1",
}
"""Queries across all three schemas: only a composition root may run them, and only to show what happened."""


async def summarise(platform: Platform) -> Summary:
    """Return the closing table."""
    rows = []
    async with platform.engine.connect() as conn:
        for title, statement in _COUNTS.items():
            found = (await conn.execute(text(statement))).all()
            rows.append((title, ", ".join(f"{name}: {number}" for name, number in found) or "none"))
    deferred = _metric(platform.notifier.app.state.metrics.exposed(), "dunwell_contacts_deferred_total", 'rule_kind="window"')
    rows.append(("deferred by quiet hours", f"{deferred:.0f}"))
    rows.append(("cancelled by payment", await _cancelled(platform)))
    uncontacted = await _uncontacted(platform)
    rows.append(("uncontacted", str(uncontacted)))
    return Summary(rows, uncontacted)


async def _cancelled(platform: Platform) -> str:
    statement = "select count(*) from notifier.deliveries where state = 'cancelled' or (state = 'suppressed' and reason = 'paid')"
    async with platform.engine.connect() as conn:
        return str((await conn.execute(text(statement))).scalar_one())


async def _uncontacted(platform: Platform) -> int:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(platform.scheduler.app), base_url="http://demo", headers={"Authorization": "Bearer dunwell-dev"}
    ) as client:
        answer = await client.get("/v1/coverage", params={"whole": "true"})
        answer.raise_for_status()
        return int(answer.json()["uncontacted"])


def _metric(exposed: bytes, name: str, label: str) -> float:
    lines = [line for line in exposed.decode().splitlines() if line.startswith(name + "{") and label in line]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def local_day(moment: datetime) -> date:
    """Return the book's calendar day."""
    return moment.astimezone(ZONE).date()
