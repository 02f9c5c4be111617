"""Repeated work: a transient failure is waited out, any other ends the worker."""

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
    """Repeat the step until stopped, pausing in between for that time or until woken; a step that returns True is repeated at once."""
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
    """Return what the work gives, trying again after errors that `passes` calls transient; None when the stop came first."""
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
