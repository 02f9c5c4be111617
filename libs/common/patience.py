"""Waiting for an answer, but not for long."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def answered(work: Coroutine[Any, Any, T], within_s: float) -> T:
    """Return what the work gives, or raise TimeoutError.

    It does not wait for the cancelled work to end: on a silent connection that may take as long as the answer.
    """
    asking = asyncio.ensure_future(work)
    asking.add_done_callback(lambda task: task.cancelled() or task.exception())
    try:
        await asyncio.wait({asking}, timeout=within_s)
    finally:
        asking.cancel()
    if not asking.done():
        raise TimeoutError(f"no answer within {within_s:g} s")
    return asking.result()
