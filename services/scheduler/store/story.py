"""Requested contacts and what became of them, tasks for people, and the timeline of a case."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.db.arrays import joined
from libs.common.db.copying import copy_new
from libs.common.value import Value, astuple
from services.scheduler.domain.case import Case, Contact, ContactState, Errand
from services.scheduler.domain.stops import OF_STOP
from services.scheduler.store.arrays import ID, MOMENT, transposed, unnest
from services.scheduler.store.errands import WITHDRAWN
from services.scheduler.tables import timeline

_OF = {"tenant": ID, "borrower_id": ID, "case_id": ID, "spell": "int"}
_CONTACTS = text(
    "select s.tenant, s.case_id, s.task_id, s.spell, s.step, s.about, s.occurrence, s.state, s.requested_at, s.expires_at,"
    " s.until, s.reason, s.done_at"
    f" from {unnest(_OF, 'k')} join scheduler.case_steps s on (s.tenant, s.borrower_id, s.case_id) = (k.tenant, k.borrower_id, k.case_id)"
    " where s.spell = k.spell or (s.about is not null and s.spell >= k.spell - 3)"
)
_ERRANDS = text(
    f"select t.tenant, t.case_id, t.task_id, t.key, t.occurrence, t.done_at, t.result from {unnest(_OF, 'k')}"
    " join scheduler.tasks t on (t.tenant, t.borrower_id, t.case_id) = (k.tenant, k.borrower_id, k.case_id)"
    f" where t.spell = k.spell or starts_with(t.key, '{OF_STOP}')"
)
_STEP = {
    "tenant": ID, "borrower_id": ID, "task_id": ID, "case_id": ID, "spell": "int", "step": ID, "about": "date",
    "occurrence": "int", "state": ID, "requested_at": MOMENT, "expires_at": MOMENT, "debts": "bytea",
    "purpose": "text",
}  # fmt: skip
_ADD_STEPS = text(
    f"insert into scheduler.case_steps ({', '.join(_STEP)}) select {', '.join(_STEP)} from {unnest(_STEP, 'v')}"
    " order by tenant, borrower_id, task_id"
)
_CHANGE = {
    "tenant": ID, "borrower_id": ID, "task_id": ID, "state": ID, "until": "timestamptz", "channel": "text",
    "reason": "text", "sequence": "bigint", "made_at": "timestamptz", "done_at": "timestamptz", "moves": "boolean",
}  # fmt: skip
_CHANGE_STEPS = text(
    "update scheduler.case_steps s set state = v.state, until = case when v.moves then v.until else s.until end,"
    " channel = coalesce(v.channel, s.channel),"
    " reason = coalesce(v.reason, s.reason), sequence = greatest(s.sequence, v.sequence), made_at = coalesce(s.made_at, v.made_at),"
    " done_at = v.done_at"
    f" from {unnest(_CHANGE, 'v')} where (s.tenant, s.borrower_id, s.task_id) = (v.tenant, v.borrower_id, v.task_id)"
)
_TASKS_OF = {"tenant": ID, "borrower_id": ID, "task_id": ID}
_STEPS = text(
    "select s.tenant, s.borrower_id, s.task_id, s.case_id, s.state, s.sequence, s.made_at, s.done_at,"
    " exists (select from scheduler.corrections c"
    f" where (c.tenant, c.borrower_id) = (s.tenant, s.borrower_id)) as corrected from {unnest(_TASKS_OF, 'k')}"
    " join scheduler.case_steps s on (s.tenant, s.borrower_id, s.task_id) = (k.tenant, k.borrower_id, k.task_id)"
)
_ENTRY = ("tenant", "borrower_id", "case_id", "at", "kind", "reason", "detail")
_ERRAND = {
    "tenant": "text", "borrower_id": "text", "task_id": "text", "case_id": "text", "spell": "int", "key": "text", "occurrence": "int",
    "queue": "text", "kind": "text", "created_at": "timestamptz", "due_at": "timestamptz", "priority": "int",
}  # fmt: skip
_GIVE = text(
    f"insert into scheduler.tasks ({', '.join(_ERRAND)}, state) select {', '.join(_ERRAND)}, 'open' from {unnest(_ERRAND, 'v')}"
    " order by tenant, borrower_id, task_id on conflict do nothing"
)


class StepRow(Value, frozen=True):
    """A new contact request."""

    tenant: str
    borrower_id: str
    task_id: str
    case_id: str
    spell: int
    step: str
    about: date | None
    occurrence: int
    state: str
    requested_at: datetime
    expires_at: datetime
    debts: bytes
    purpose: str


class StepChange(Value, frozen=True):
    """What is now known about a contact."""

    tenant: str
    borrower_id: str
    task_id: str
    state: str
    until: datetime | None = None
    channel: str | None = None
    reason: str | None = None
    sequence: int = -1
    made_at: datetime | None = None
    moves: bool = True
    """Whether it says how far the contact got: a reply does not."""
    done_at: datetime | None = None


class StepSeen(Value, frozen=True):
    """A contact and its last outcome so far; `corrected` if a fact about the borrower's debts corrects earlier ones."""

    tenant: str
    borrower_id: str
    task_id: str
    case_id: str
    state: ContactState
    sequence: int
    made_at: datetime | None
    corrected: bool
    done_at: datetime | None


class Entry(Value, frozen=True):
    """An entry of a case's timeline; `detail` is JSON."""

    tenant: str
    borrower_id: str
    case_id: str
    at: datetime
    kind: str
    reason: str | None
    detail: bytes


class ErrandRow(Value, frozen=True):
    """A new task for a person."""

    tenant: str
    borrower_id: str
    task_id: str
    case_id: str
    spell: int
    key: str
    occurrence: int
    queue: str
    kind: str
    created_at: datetime
    due_at: datetime
    priority: int


async def contacts(conn: AsyncConnection, cases: Sequence[Case]) -> list[tuple[tuple[str, str], Contact]]:
    """Return the contacts of these cases' spells, and recent reminders, by (tenant, case)."""
    found = await conn.execute(_CONTACTS, transposed(_OF, cases))
    return [
        ((tenant, case), Contact(task, spell, step, about, occurrence, ContactState(state), *rest))
        for tenant, case, task, spell, step, about, occurrence, state, *rest in found
    ]  # fmt: skip


async def errands(conn: AsyncConnection, cases: Sequence[Case]) -> list[tuple[tuple[str, str], Errand]]:
    """Return the tasks for people of these cases' spells, and those about stops of any spell, by (tenant, case)."""
    found = await conn.execute(_ERRANDS, transposed(_OF, cases))
    return [
        ((row.tenant, row.case_id), Errand(row.task_id, row.key, row.occurrence, row.done_at, row.result == WITHDRAWN)) for row in found
    ]


async def steps_of(conn: AsyncConnection, keys: Sequence[tuple[str, str, str]]) -> list[StepSeen]:
    """Return the contacts of these (tenant, borrower, task)."""
    tenants, borrowers, ids = zip(*keys, strict=True)
    found = await conn.execute(_STEPS, {"tenant": joined(tenants), "borrower_id": joined(borrowers), "task_id": joined(ids)})
    return [
        StepSeen(
            r.tenant, r.borrower_id, r.task_id, r.case_id, ContactState(r.state), r.sequence, r.made_at, r.corrected, r.done_at,
        )
        for r in found
    ]  # fmt: skip


async def add_steps(conn: AsyncConnection, rows: Sequence[StepRow]) -> None:
    """Store requested contacts; an existing one is a bug of ours."""
    if rows:
        await conn.execute(_ADD_STEPS, transposed(_STEP, rows))


async def change_steps(conn: AsyncConnection, rows: Sequence[StepChange]) -> None:
    """Store what is now known about contacts (one row per contact)."""
    if rows:
        by_key = {(row.tenant, row.borrower_id, row.task_id): row for row in rows}
        await conn.execute(_CHANGE_STEPS, transposed(_CHANGE, [by_key[key] for key in sorted(by_key)]))


async def tell(conn: AsyncConnection, entries: Sequence[Entry]) -> None:
    """Append to the timelines, in this order."""
    await copy_new(conn, timeline, _ENTRY, list(map(astuple, entries)))


async def give(conn: AsyncConnection, rows: Sequence[ErrandRow]) -> None:
    """Store tasks for people; a repeat is the same task."""
    if rows:
        await conn.execute(_GIVE, transposed(_ERRAND, rows))
