"""Free text about borrowers, which is deleted when they are erased."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.store.arrays import unnest

_OF = {"tenant": "text", "borrower_id": "text"}
_WRITTEN = {"tasks": ("note",), "promises": ("note",), "matters": ("note", "answer"), "recorded_contacts": ("note",), "holds": ("reason",)}
_FORGET = [
    text(
        f"update scheduler.{table} w set {', '.join(f'{column} = null' for column in columns)} from {unnest(_OF, 'k')}"
        " where (w.tenant, w.borrower_id) = (k.tenant, k.borrower_id)"
        f" and ({' or '.join(f'w.{column} is not null' for column in columns)})"
    )
    for table, columns in _WRITTEN.items()
]
_FORGET_STORY = text(
    "update scheduler.timeline w set detail = convert_to((convert_from(w.detail, 'UTF8')::jsonb - '{note,text}'::text[])::text, 'UTF8')"
    f" from {unnest(_OF, 'k')} where (w.tenant, w.borrower_id) = (k.tenant, k.borrower_id) and w.kind in ('case.note', 'task.completed')"
)


async def forget(conn: AsyncConnection, borrowers: Sequence[tuple[str, str]]) -> None:
    """Delete the free text about these (tenant, borrower), whose cases are locked; what was done is kept."""
    tenants, ids = zip(*sorted(borrowers), strict=True)
    for statement in (*_FORGET, _FORGET_STORY):
        await conn.execute(statement, {"tenant": list(tenants), "borrower_id": list(ids)})
