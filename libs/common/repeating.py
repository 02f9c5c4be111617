"""Work that is done again and again: a failure that passes by itself is waited out, any other ends the worker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from libs.common import logs
from libs.common.clock import pause
from libs.common.db.failures import is_transient

FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 5.0
FIRST_TRY_AGAIN_S = 0.1

T = TypeVar("T")


async def repeat(
    step: Callable[[], Awaitable[bool | None]], stop: asyncio.Event, *, every_s: float, worker: str, wake: asyncio.Event | None = None
) -> None:
    """Do the step, rest until the time or the wake comes, do it again, until stopped; after a step that says True without a rest."""
    wait = FIRST_WAIT_S
    while not stop.is_set():
        if wake is not None:
            wake.clear()
        try:
            more = await step()
        except Exception as error:
            if not is_transient(error):
                raise
            logs.get("worker").warning("waiting", worker=worker, reason=f"{type(error).__name__}: {error}"[:300])
            await pause(stop, wait)
            wait = min(wait * 2, LONGEST_WAIT_S)
        else:
            wait = FIRST_WAIT_S
            if not more:
                await pause(stop, every_s, wake=wake)


async def patiently(
    work: Callable[[], Awaitable[T]], stop: asyncio.Event, *, passes: Callable[[Exception], bool], note: Callable[[Exception], None]
) -> T | None:
    """Return what the work gives, trying again while what stands in its way passes by itself; None when the stop came first."""
    wait = FIRST_TRY_AGAIN_S
    while not stop.is_set():
        try:
            return await work()
        except Exception as error:
            if not passes(error):
                raise
            note(error)
            await pause(stop, wait)
            wait = min(wait * 2, LONGEST_WAIT_S)
    return None
