"""Runs simulations one after the other in separate processes, so that requests are answered meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from multiprocessing import get_context

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common import logs
from libs.common.clock import Clock
from libs.common.repeating import repeat
from services.scheduler.domain.tally import Tally, canonical, hash_of
from services.scheduler.rulebook import AssignmentItem, items_of
from services.scheduler.simulation import Both, Chosen, Setup, SimulationAsked, play, play_portion, read, result_of, watch_parent
from services.scheduler.store import policies, simulations, trials
from services.scheduler.store.book import Book, Portion
from services.scheduler.store.simulations import Asked, Ending

BORROWERS = 250
"""In one portion: what a process reads and simulates at a time."""
AHEAD = 2
"""Portions queued for each process."""
LOOK_EVERY_S = 5.0
_asked = msgspec.json.Decoder(SimulationAsked).decode


class EndedMeanwhileError(Exception):
    """Somebody ended the simulation while it was running."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a simulation has come."""

    done: int
    total: int


@dataclass(slots=True)
class Simulator:
    """Runs waiting simulations; any number of these share the work. With 0 processes it simulates in a thread: for tests."""

    engine: AsyncEngine
    clock: Clock
    settle: timedelta
    processes: int
    borrowers: int = BORROWERS
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, stop: asyncio.Event) -> None:
        """Run waiting simulations until stopped."""
        await repeat(lambda: self.run_one(stop), stop, every_s=LOOK_EVERY_S, worker="scheduler/simulator", wake=self.wake)

    async def run_one(self, stop: asyncio.Event) -> bool:
        """Run the next waiting simulation; return False if there is none."""
        async with self.engine.begin() as conn:
            now = await self.clock.at(conn)
            asked = await simulations.take(conn, now)
        if asked is None:
            return False
        ending = await self._ended(asked, now, stop)
        if ending is not None:
            async with self.engine.begin() as conn:
                await simulations.end(conn, asked, ending, await self.clock.at(conn))
        return True

    async def _ended(self, asked: Asked, now: datetime, stop: asyncio.Event) -> Ending | None:
        """Return how a simulation ended; None if somebody else has recorded that."""
        try:
            setup = await self._setup(asked, now)
            both = await self._play(asked, setup, stop)
        except EndedMeanwhileError:
            return None
        except Exception as error:  # noqa: BLE001  # whatever it was, only this simulation has failed
            logs.get("simulator").warning("simulation_failed", simulation=asked.simulation_id, exc_info=error)
            return Ending("failed", f"{type(error).__name__}: {error}"[:500])
        if both is None:
            return Ending("interrupted", "process_ended")
        result = {**_head(asked, setup), **result_of(setup, both)}
        return Ending("done", result=canonical(result), hash=hash_of(result))

    async def _setup(self, asked: Asked, now: datetime) -> Setup:
        """Read which policies apply now, and add the one to simulate."""
        wanted = _asked(asked.asked)
        async with self.engine.connect() as conn:
            active = await policies.active(conn, [asked.tenant], now)
            over = await trials.stopped(conn, [which for which, _ in active])
            _, stored = await policies.assignments(conn, asked.tenant)
            documents = {f"{which.name}@{which.version}": document for which, document in await policies.in_use(conn, asked.tenant)}
            version = asked.version or await policies.newest(conn, asked.tenant, asked.policy) + 1
        items = tuple(items_of(stored))
        old = Chosen(
            assignments=items, active={which.name: (which.version, in_flight) for which, in_flight in active},
            stopped=tuple(sorted(which.name for which in over)),
        )  # fmt: skip
        named = any(item.policy == asked.policy for item in items)
        new = Chosen(
            assignments=items if named else (AssignmentItem(policy=asked.policy), *items),
            active={**old.active, asked.policy: (version, wanted.in_flight)},
            takes_over=None if asked.policy in old.active else asked.policy,
            stopped=tuple(name for name in old.stopped if name != asked.policy),
        )
        from_at, to = _span(wanted, now)
        return Setup(
            tenant=asked.tenant, asked=wanted, from_at=from_at, to=to, settle_s=self.settle.total_seconds(), new=new, old=old,
            documents={**documents, f"{asked.policy}@{version}": asked.document},
        )  # fmt: skip

    async def _play(self, asked: Asked, setup: Setup, stop: asyncio.Event) -> Both | None:
        """Simulate all debts, a few portions at a time, and add up the results; None if stopped first."""
        whole = Both(Tally(), Tally())
        book = Book(setup.tenant, setup.to if setup.asked.mode == "past" else None)
        async with self.engine.connect() as conn:
            total = await book.size(conn)
        await self._go_on(asked, Progress(0, total))
        with ExitStack() as stack:
            one = self._player(setup, stack)
            running: dict[asyncio.Future[Both], int] = {}
            after: str | None = ""
            done = 0
            while after is not None or running:
                after = await self._fill(book, one, running, after)
                finished, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED) if running else (set(), None)
                for future in finished:
                    both = future.result()
                    whole.new.add(both.new)
                    whole.old.add(both.old)
                    done += running.pop(future)
                if stop.is_set():
                    return None
                await self._go_on(asked, Progress(done, max(total, done)))
        return whole

    async def _fill(
        self, book: Book, one: Callable[[Portion], Awaitable[Both]], running: dict[asyncio.Future[Both], int], after: str | None
    ) -> str | None:
        """Start portions until enough are running; return where the next one begins, or None if there are no more."""
        while after is not None and len(running) < max(1, self.processes * AHEAD):
            async with self.engine.connect() as conn:
                found = await book.portion(conn, after, self.borrowers)
            if found is None:
                return None
            portion, number = found
            running[asyncio.ensure_future(one(portion))] = number
            after = portion.upto
        return after

    def _player(self, setup: Setup, stack: ExitStack) -> Callable[[Portion], Awaitable[Both]]:
        """Return the function that simulates a portion: in a process pool that lives as long as the simulation."""
        if self.processes == 0:
            return lambda portion: self._beside(setup, portion)
        pool = ProcessPoolExecutor(self.processes, mp_context=get_context("spawn"), initializer=watch_parent)
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        url, loop = self.engine.url.render_as_string(hide_password=False), asyncio.get_running_loop()
        return lambda portion: loop.run_in_executor(pool, play_portion, url, setup, portion)

    async def _beside(self, setup: Setup, portion: Portion) -> Both:
        async with self.engine.connect() as conn:
            subjects = await read(conn, setup, portion)
        return await asyncio.to_thread(play, setup, subjects)

    async def _go_on(self, asked: Asked, progress: Progress) -> None:
        async with self.engine.begin() as conn:
            now = await self.clock.at(conn)
            if not await simulations.go_on(conn, asked, now, done=progress.done, total=progress.total):
                raise EndedMeanwhileError


def _span(asked: SimulationAsked, now: datetime) -> tuple[datetime, datetime]:
    if asked.mode == "past":
        if asked.from_at is None or asked.to is None:
            raise ValueError("a past period needs a beginning and an end")
        return asked.from_at, min(asked.to, now)
    return now, now + timedelta(days=asked.days or 0)


def _head(asked: Asked, setup: Setup) -> dict[str, object]:
    """Return what was simulated: part of the hash, so that it identifies the question along with the answer."""
    rest = msgspec.to_builtins(setup.asked)
    rest.pop("from_at"), rest.pop("to")
    return {
        **rest, "policy": asked.policy, "version": asked.version, "document_hash": asked.document_hash,
        "from": setup.from_at.isoformat(), "to": setup.to.isoformat(), "against": {name: v for name, (v, _) in setup.old.active.items()},
    }  # fmt: skip
