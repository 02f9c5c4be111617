"""How a command ends: Ctrl-C and SIGTERM let it clean up, and a fault that a person can fix is one sentence."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine, Iterator
from typing import Any

import uvloop
from rich.console import Console
from rich.markup import escape
from sqlalchemy.exc import DBAPIError

from libs.common.settings import SettingsError
from services.importer.uci import RowError

ENDED_BY_HAND, ENDED_BY_SIGTERM = 130, 143
FAULTS = (SettingsError, OSError, RuntimeError, RowError, DBAPIError)
"""Faults of a setting, a file, an address or the machine; of the database only before it was sent a statement."""


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end; a result other than 0 is the exit code."""
    code = ENDED_BY_HAND
    with contextlib.suppress(KeyboardInterrupt):
        try:
            result = uvloop.run(_until_sigterm(work))
        except asyncio.CancelledError:
            code = ENDED_BY_SIGTERM
        else:
            if isinstance(result, int) and result:
                raise SystemExit(result)
            return result
    raise SystemExit(code)


@contextlib.contextmanager
def explained(say: Console) -> Iterator[None]:
    """Turn a fault that a person can fix into a sentence and exit code 2; anything else is ours, and keeps its traceback."""
    try:
        yield
    except FAULTS as error:
        if isinstance(error, DBAPIError) and error.statement is not None:
            raise
        why = f"PostgreSQL: {str(error.orig).rpartition('>: ')[2]}" if isinstance(error, DBAPIError) else str(error)
        say.print(f"[red]dunwell:[/red] {escape(why)}", highlight=False)
        raise SystemExit(2) from None


async def _until_sigterm(work: Coroutine[Any, Any, Any]) -> Any:
    """Leave nothing running: unless the work handles SIGTERM itself, it is cancelled, as by Ctrl-C."""
    here = asyncio.current_task()
    if here is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, here.cancel)
    return await work
