"""`GET /v1/feed/{topic}`: a service's messages about a tenant, in order, for a week."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.api import Readiness, answer
from libs.common.auth import Principal, requires
from libs.common.bus.ports import Message
from libs.common.clock import pause, stopwatch
from libs.common.contracts.catalogue import CASES, FACTS, OUTCOMES, PROFILES, TASKS
from libs.common.errors import DomainError
from libs.common.feed import store
from libs.common.feed.cursors import Cursor, Standing, place
from libs.common.feed.events import structured
from libs.common.feed.keeping import Feed
from libs.common.feed.store import Stream

READ_BY = {
    FACTS.name: "loans:read", PROFILES.name: "pii:read", TASKS.name: "cases:read", CASES.name: "cases:read", OUTCOMES.name: "contacts:read",
}  # fmt: skip
"""The scope that a topic requires; profiles tell of illness, debt advice and death, with names and addresses sealed."""
PREFIX = "dunning."
MOST = 1000
MOST_BYTES = 4 * 1024 * 1024
LONGEST_WAIT_S = 30.0
LOOK_EVERY_S = 1.0
"""Another replica may run the relay, and then no bell rings here."""
_CURSOR = "the position to continue after: the `sequence` of the last event you processed, or `next`; if absent, from the oldest kept"


@dataclass(frozen=True, slots=True)
class Page:
    """What follows a position, and where to continue."""

    items: list[tuple[Cursor, Message]]
    next: Cursor


@dataclass(frozen=True, slots=True)
class FeedReader:
    """Reads a feed, and waits for more."""

    engine: AsyncEngine
    feed: Feed
    readiness: Readiness

    async def page(self, stream: Stream, after: Cursor | None, limit: int, wait_s: float) -> Page:
        """Return the next messages; if there are none, wait for some."""
        ends = stopwatch() + wait_s
        while True:
            bell = self.feed.bell.next
            found = await self._read_once(stream, after, limit)
            left = ends - stopwatch()
            if found.items or left <= 0 or self.readiness.closed is not None:
                return found
            await pause(bell, min(left, LOOK_EVERY_S))

    async def _read_once(self, stream: Stream, after: Cursor | None, limit: int) -> Page:
        async with self.engine.connect() as conn:
            standing = await store.standing(conn, stream, after)
            if (behind := place(after, standing)) is None:
                raise _expired(standing)
            items = _bounded(await store.read(conn, stream, behind, limit))
        return Page(items, items[-1][0] if items else Cursor(standing.epoch, behind))


def feed_routes(reader: FeedReader, *, kept: bool) -> APIRouter:
    """Return the routes; if nothing is kept, they say so."""
    routes = APIRouter(prefix="/v1/feed", tags=["feed"])
    for topic in sorted(reader.feed.topics):
        _add(routes, reader, topic, kept=kept)
    return routes


def _add(routes: APIRouter, reader: FeedReader, topic: str, *, kept: bool) -> None:
    """Add a route for a topic, under its full name and without the common prefix."""
    caller_of, short = requires(READ_BY[topic]), topic.removeprefix(PREFIX)

    async def events(
        *,
        after: Annotated[str | None, Query(description=_CURSOR)] = None,
        limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
        wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT_S, description="seconds to wait for an event if there is none")] = 0.0,
        caller: Principal = Depends(caller_of),  # noqa: B008  # a local name, which an annotation cannot hold
    ) -> Response:
        if not kept:
            raise DomainError(404, "feed_off", "this service keeps no feed: DUNWELL_FEED is off; its topic on Kafka has the same messages")
        page = await reader.page(Stream(reader.feed.schema, caller.tenant, topic), _cursor(after), limit, wait)
        return answer({"items": [structured(message, at) for at, message in page.items], "next": page.next.text})

    routes.get(f"/{short}", summary=f"The messages on {topic}, from a position on")(events)
    routes.get(f"/{topic}", include_in_schema=False)(events)


def _cursor(after: str | None) -> Cursor | None:
    if after is None:
        return None
    if (cursor := Cursor.read(after)) is None:
        raise DomainError(422, "invalid_request", "after: this cursor is not one of ours")
    return cursor


def _expired(standing: Standing) -> DomainError:
    begins = Cursor(standing.epoch, standing.begins).text
    return DomainError(410, "feed_expired", f"what came next is no longer kept; the oldest follows {begins}", oldest=begins)


def _bounded(items: list[tuple[Cursor, Message]]) -> list[tuple[Cursor, Message]]:
    size = 0
    for at, (_, message) in enumerate(items):
        size += len(message.value or b"")
        if at and size > MOST_BYTES:
            return items[:at]
    return items
