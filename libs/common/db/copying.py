"""Rows copied into a table: half of what a statement with arrays costs PostgreSQL, and no array for the driver to look through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import asyncpg
from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection


async def copied(conn: AsyncConnection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bool:
    """Add these rows; False, and none is added, where one stands under a key that is taken: a copy cannot leave it out.

    The savepoint is also what lets the driver's own connection be used: by then the transaction has begun.
    """
    try:
        async with conn.begin_nested():
            raw = await conn.get_raw_connection()
            copy = raw.driver_connection.copy_records_to_table  # type: ignore[union-attr]  # it is connected: the savepoint stands
            await copy(table.name, schema_name=table.schema, columns=columns, records=rows)
    except asyncpg.UniqueViolationError:
        return False
    return True
