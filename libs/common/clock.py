"""Time as a dependency that is passed in: the only file that reads the wall clock."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


class Clock(Protocol):
    """Two readings: this process's, and the database's, which all replicas share and which decides."""

    def now(self) -> datetime:
        """Return the time by this process; for logs, metrics and answers, never for anything stored as due."""
        ...

    async def at(self, conn: AsyncConnection) -> datetime:
        """Return the moment by which a transaction decides."""
        ...

    def known(self) -> datetime | None:
        """Return that moment without asking the database; None where only the database knows it and the statement must ask for it."""
        ...


class WallClock:
    """The real time."""

    def now(self) -> datetime:
        """Return the moment by this machine's clock."""
        return datetime.now(UTC)  # noqa: TID251  # the one file that may

    async def at(self, conn: AsyncConnection) -> datetime:
        """Return the moment by the database's clock, so that skewed replicas agree."""
        return (await conn.execute(text("select clock_timestamp()"))).scalar_one()  # type: ignore[no-any-return]  # typed by the statement

    def known(self) -> None:
        """Return None: the database has it."""


class DrivenClock:
    """A clock that tests and the demo move by hand; it never goes back."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        """Return the moment it was moved to."""
        return self._now

    async def at(self, conn: AsyncConnection) -> datetime:  # noqa: ARG002  # the port's shape
        """Return the moment it was moved to."""
        return self._now

    def known(self) -> datetime:
        """Return the moment it was moved to."""
        return self.now()

    def move_to(self, moment: datetime) -> None:
        """Set the time; an earlier moment changes nothing."""
        self._now = max(self._now, moment)

    def advance(self, by: timedelta) -> None:
        """Move the clock forward by that much."""
        self.move_to(self._now + by)


class HandoverClock:
    """A driven clock that becomes the wall clock once the past has been played."""

    def __init__(self, start: datetime) -> None:
        self._driven: DrivenClock | None = DrivenClock(start)
        self._wall = WallClock()

    @property
    def driven(self) -> DrivenClock:
        """Return the clock to drive; raises once it was handed over."""
        if self._driven is None:
            raise RuntimeError("the clock has already become the wall clock")
        return self._driven

    def hand_over(self) -> None:
        """Become the wall clock from now on."""
        self._driven = None

    def now(self) -> datetime:
        """Return the moment by the clock in charge."""
        return (self._driven or self._wall).now()

    async def at(self, conn: AsyncConnection) -> datetime:
        """Return the moment by the clock in charge."""
        return await (self._driven or self._wall).at(conn)

    def known(self) -> datetime | None:
        """Return what the clock in charge knows."""
        return (self._driven or self._wall).known()


def stopwatch() -> float:
    """Return the seconds of a clock that is good only for durations."""
    return time.perf_counter()


async def pause(stop: asyncio.Event, seconds: float, *, wake: asyncio.Event | None = None) -> None:
    """Wait that long, or until `stop` or `wake` is set."""
    waiting = [asyncio.ensure_future(event.wait()) for event in (stop, wake) if event is not None]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiting:
            waiter.cancel()
