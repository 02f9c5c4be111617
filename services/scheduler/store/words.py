"""Free text about borrowers, which is deleted when they are erased."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.domain.matters import MatterKind, Outcome
from services.scheduler.domain.promises import PromiseState
from services.scheduler.domain.stops import Ending
from services.scheduler.store.arrays import unnest

ENDED_BY_PERSON = "ended_by_person"
_ENDS = sorted({
    ENDED_BY_PERSON, "until", *Ending, *(f"promise_{state}" for state in PromiseState), *(f"{k}_{o}" for k in MatterKind for o in Outcome),
})  # fmt: skip
"""Why a hold has ended, where nobody has said it in words of his own."""
_OF = {"tenant": "text", "borrower_id": "text"}
_WRITTEN = {
    "tasks": ("note",), "promises": ("note",), "matters": ("note", "answer"), "recorded_contacts": ("note",), "holds": ("reason",),
    "approvals": ("reason",), "offers": ("reason",),
}  # fmt: skip
_MINE = f"from {unnest(_OF, 'k')} where (w.tenant, w.borrower_id) = (k.tenant, k.borrower_id)"
_FORGET = [
    text(
        f"update scheduler.{table} w set {', '.join(f'{column} = null' for column in columns)} {_MINE}"
        f" and ({' or '.join(f'w.{column} is not null' for column in columns)})"
    )
    for table, columns in _WRITTEN.items()
]
_FORGET_STORY = text(
    "update scheduler.timeline w set detail = convert_to((convert_from(w.detail, 'UTF8')::jsonb - '{note,text}'::text[])::text, 'UTF8')"
    f" {_MINE} and w.kind in ('case.note', 'task.completed')"
)
_DECISIONS = (
    "step.approved", "step.rejected", "offer.proposed", "offer.rejected", "case.offer_accepted", "case.offer_declined", "case.taken_back",
    "case.promise_cancelled",
)  # fmt: skip
"""Entries whose reason is in a person's own words."""
_FORGET_WHY = text(
    f"update scheduler.timeline w set reason = null {_MINE} and w.reason is not null"
    " and (w.kind = any(:decisions) or (w.kind = 'case.released' and w.reason <> all(:ends)))"
)
_FORGET_ENDS = text(f"update scheduler.holds w set end_reason = null {_MINE} and w.end_reason <> all(:ends)")


async def forget(conn: AsyncConnection, borrowers: Sequence[tuple[str, str]]) -> None:
    """Delete the free text about these (tenant, borrower), whose cases are locked; what was done is kept."""
    tenants, ids = zip(*sorted(borrowers), strict=True)
    of = {"tenant": list(tenants), "borrower_id": list(ids)}
    for statement in (*_FORGET, _FORGET_STORY):
        await conn.execute(statement, of)
    await conn.execute(_FORGET_WHY, {**of, "decisions": list(_DECISIONS), "ends": _ENDS})
    await conn.execute(_FORGET_ENDS, {**of, "ends": _ENDS})
