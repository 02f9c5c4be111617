"""Borrowers' answers on their page: how it felt, and when and how they want to be contacted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_PUT = text(
    "insert into scheduler.page_answers (tenant, borrower_id, answer_id, case_id, spell, kind, said, step, task_id, at)"
    " values (:tenant, :borrower_id, :answer_id, :case_id, :spell, :kind, :said, :step, :task_id, :at)"
    " on conflict (tenant, borrower_id, answer_id) do nothing returning answer_id"
)


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """An answer; `step` and `task_id` are those of the message whose link was used, if any."""

    tenant: str
    borrower_id: str
    answer_id: str
    case_id: str
    spell: int
    kind: str
    said: str
    at: datetime
    step: str | None = None
    task_id: str | None = None


async def put(conn: AsyncConnection, row: AnswerRow) -> bool:
    """Write an answer; return False if it is already there."""
    values = {name: getattr(row, name) for name in AnswerRow.__slots__}
    return (await conn.execute(_PUT, values)).one_or_none() is not None
