"""Rows inserted with COPY: half of what a statement with arrays costs PostgreSQL, and no array for the driver to go through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import asyncpg
from sqlalchemy import Table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.errors import TransientError

_BEGIN = text("select")


async def copied(conn: AsyncConnection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bool:
    """Add these rows; False, with none added, if a key is already taken: COPY cannot skip a row."""
    try:
        async with conn.begin_nested():
            await _copy(conn, table, columns, rows)
    except asyncpg.UniqueViolationError:
        return False
    return True


async def copy_new(conn: AsyncConnection, table: Table, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Add rows known to be new; TransientError, with the transaction lost, if another transaction has added one meanwhile."""
    if not rows:
        return
    try:
        await _copy(conn, table, columns, rows)
    except asyncpg.UniqueViolationError as error:
        raise TransientError(f"a row of {table.name} was added elsewhere meanwhile") from error


async def _copy(conn: AsyncConnection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Copy on the driver's own connection, where a transaction begins only with the first statement sent through SQLAlchemy."""
    driver = (await conn.get_raw_connection()).driver_connection
    if not driver.is_in_transaction():  # type: ignore[union-attr]  # it is connected
        await conn.execute(_BEGIN)
    await driver.copy_records_to_table(table.name, schema_name=table.schema, columns=columns, records=rows)  # type: ignore[union-attr]  # as above
