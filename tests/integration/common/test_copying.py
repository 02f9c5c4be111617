"""Rows that are copied are part of the transaction around them."""

from __future__ import annotations

import pytest
from sqlalchemy import MetaData, text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.db.base import base_tables
from libs.common.db.copying import copy_new
from libs.common.errors import TransientError

base_tables(metadata := MetaData(schema="ingest"))
HEADS, COLUMNS = metadata.tables["ingest.feed_heads"], ("tenant", "topic", "last")
_ALL = text("select topic from ingest.feed_heads order by topic")


async def test_rows_that_are_the_first_thing_a_transaction_writes_go_with_it(engine: AsyncEngine) -> None:
    async with engine.connect() as conn:
        await copy_new(conn, HEADS, COLUMNS, [("t", "gone", 1)])
        await conn.rollback()
        await copy_new(conn, HEADS, COLUMNS, [("t", "kept", 1)])
        await conn.commit()
    async with engine.connect() as conn:
        assert (await conn.execute(_ALL)).scalars().all() == ["kept"]


async def test_a_row_that_somebody_else_has_added_lets_the_whole_be_tried_again(engine: AsyncEngine) -> None:
    async with engine.begin() as conn:
        await copy_new(conn, HEADS, COLUMNS, [("t", "theirs", 1)])
    with pytest.raises(TransientError, match="feed_heads"):
        async with engine.begin() as conn:
            await copy_new(conn, HEADS, COLUMNS, [("t", "ours", 1), ("t", "theirs", 1)])
    async with engine.connect() as conn:
        assert (await conn.execute(_ALL)).scalars().all() == ["theirs"]
