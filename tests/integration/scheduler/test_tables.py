"""The declared tables match those in the database."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scheduler import agreement_tables, simulation_tables


async def test_the_tables_in_code_are_those_in_the_database(engine: AsyncEngine) -> None:
    metadata = agreement_tables.holds.metadata
    assert simulation_tables.simulations.metadata is metadata
    declared = {(table.name, column.name, bool(column.nullable)) for table in metadata.tables.values() for column in table.columns}
    statement = text(
        "select c.table_name, c.column_name, c.is_nullable = 'YES' as nullable from information_schema.columns c"
        " join pg_class p on p.relname = c.table_name and p.relnamespace = 'scheduler'::regnamespace"
        " where c.table_schema = 'scheduler' and not p.relispartition and c.table_name <> 'alembic_version'"
    )
    async with engine.connect() as conn:
        found = {(row.table_name, row.column_name, row.nullable) for row in await conn.execute(statement)}
    assert declared == found
