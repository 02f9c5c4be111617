"""Work for people: one person holds a task for a while, and its result takes effect automatically."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.auth import Principal
from libs.common.errors import DomainError
from libs.common.value import replace
from services.scheduler.acting import Desk
from services.scheduler.authorizing import CHANNELS, Gate, Question
from services.scheduler.casework import Casework, Work
from services.scheduler.contacting import ContactMade, record
from services.scheduler.dealing import decided_elsewhere
from services.scheduler.domain.builtin import DOUBT_WORK
from services.scheduler.domain.matters import Outcome
from services.scheduler.domain.policy import Work as PolicyWork
from services.scheduler.domain.scripts import script_of
from services.scheduler.domain.stops import OF_STOP
from services.scheduler.finding import named, unknown
from services.scheduler.objecting import resolve
from services.scheduler.outgoing import Outgoing, entry
from services.scheduler.showing import debts_shown, promises_shown, stops_shown
from services.scheduler.store import cases, errands, story
from services.scheduler.store.errands import WITHDRAWN, Done
from services.scheduler.store.held import CaseKey, Held
from services.scheduler.store.story import Entry

MATTER_KEY = f"{OF_STOP}m-"
"""Prefix of the keys of tasks about what a borrower raised."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a person reports about a completed task: a contact with its result, or the outcome of a matter."""

    note: str | None = None
    contact: ContactMade | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class TaskDesk:
    """Where tasks are claimed, given back and completed."""

    casework: Casework
    gate: Gate

    async def claim(self, caller: Principal, task_id: str, authorization: str) -> Mapping[str, Any]:
        """Claim a task for a while, and ask the gate, outside the transaction, whether its contact may be made now."""
        async with self.casework.engine.begin() as conn:
            held, task = await self._task(conn, caller, task_id)
            by, at = named(caller), held.moment(await self.casework.clock.at(conn))
            claimed = await errands.claim(conn, caller.tenant, task_id, by=by, at=at)
            if claimed is None:
                raise await self._conflict(conn, caller, task_id)
            if task.state == "open":
                await _tell(conn, replace(held, moved_at=at), entry(held.case, at, "task.claimed", task_id=task_id, by=by))
            case = await cases.find(conn, caller.tenant, held.case.case_id)
            shown = await self._shown(conn, claimed, case)
        return {**shown, "gate": await self._gate(claimed, case, by, authorization=authorization)}

    async def read(self, caller: Principal, task_id: str) -> Mapping[str, Any]:
        """Return a task with everything its person needs except the gate's answer, because asking takes a slot in the caps."""
        async with self.casework.engine.connect() as conn:
            task = await self._found(conn, caller, task_id)
            return await self._shown(conn, task, await cases.find(conn, caller.tenant, task.case_id))

    async def release(self, caller: Principal, task_id: str) -> Mapping[str, Any]:
        """Give a task back."""
        async with self.casework.engine.begin() as conn:
            held, task = await self._task(conn, caller, task_id)
            at = held.moment(await self.casework.clock.at(conn))
            released = await errands.release(conn, caller.tenant, task_id, by=named(caller), at=at)
            if released is None and task.state != "open":
                raise await self._conflict(conn, caller, task_id)
            if released is not None:
                said = entry(held.case, at, "task.released", task_id=task_id, by=named(caller))
                await _tell(conn, replace(held, moved_at=at), said)
        return dict(released or task)

    async def complete(self, caller: Principal, task_id: str, done: Completion) -> Mapping[str, Any]:
        """Complete a task, with what follows from its result, and plan its case again. A completed one is unchanged.

        A contact made while its task was being withdrawn is recorded all the same: it counts.
        """
        async with self.casework.engine.connect() as conn:
            task = await self._found(conn, caller, task_id)
        async with self.casework.on(caller, task.case_id, key=task_id) as work:
            task = await self._found(work.conn, caller, task_id)
            if task.state == "done" and (task.result != WITHDRAWN or done.contact is None):
                return dict(task)
            if task.state == "claimed" and task.claimed_by != work.by:
                raise await self._conflict(work.conn, caller, task_id)
            if (instead := decided_elsewhere(work.case, task.about, task.spell)) is not None:
                raise DomainError(409, "decision_needed", instead)
            return dict(await self._complete(work, task, done))

    async def _complete(self, work: Work, task: RowMapping, done: Completion) -> RowMapping:
        word = done.contact.result.value if done.contact else done.outcome.value if done.outcome else None
        ended = await errands.complete(work.conn, work.case.tenant, task.task_id, Done(work.by, work.at, done.note, word))
        work.out.entries.append(
            work.entry("task.completed", reason=task.kind, task_id=task.task_id, by=work.by, note=done.note, result=word)
        )
        work.freed = task.kind == DOUBT_WORK.kind
        if done.contact is not None:
            channel = done.contact.channel or CHANNELS.get(task.kind, "call")
            await record(work, dataclasses.replace(done.contact, channel=channel, task_id=task.task_id))
        if done.outcome is not None:
            if not task.about.startswith(MATTER_KEY):
                raise DomainError(422, "invalid_request", "this task is not about a matter, so it has no outcome")
            await resolve(work, task.about.removeprefix(OF_STOP), done.outcome, done.note)
        return ended or task

    async def _shown(self, conn: AsyncConnection, task: RowMapping, held: Held | None) -> dict[str, Any]:
        """Return a task with what the person needs: the script, the debts, the promises, and why nothing was paid."""
        if held is None:
            return {**task, "script": script_of(task.kind, None), "context": None}
        case = held.case
        rules = await self.casework.desk.rulebook.of(conn, [case.tenant], await self.casework.clock.at(conn), held=[held])
        policy = rules.pinned(held)
        action = next((step.action for step in policy.steps if step.id == task.about), None) if policy is not None else None
        context = {
            "debts": debts_shown(case), "nonpayment_reason": case.nonpayment_reason, "promises": promises_shown(case),
            "stops": stops_shown(case),
        }  # fmt: skip
        own = action.script if isinstance(action, PolicyWork) else None
        return {**task, "script": script_of(task.kind, own), "context": context}

    async def _gate(self, task: RowMapping, held: Held | None, by: str, *, authorization: str) -> Mapping[str, Any] | None:
        """Return the gate's answer on this contact now; None for work that is not a contact."""
        channel = CHANNELS.get(task.kind)
        if held is None or channel is None:
            return None
        case = held.case
        oldest = min(case.owed, key=lambda debt: (debt.past_due_from or debt.next_due_on, debt.loan_id), default=None)
        question = Question(case.borrower_id, oldest.loan_id if oldest else None, channel, by)
        return await self.gate.answer(question, authorization)

    async def _task(self, conn: AsyncConnection, caller: Principal, task_id: str) -> tuple[Held, RowMapping]:
        """Return a task with its case locked; the case is locked first, as everywhere."""
        task = await self._found(conn, caller, task_id)
        held = await cases.lock_rows(conn, [CaseKey(caller.tenant, task.borrower_id, task.case_id)])
        return held[0], await self._found(conn, caller, task_id)

    async def _found(self, conn: AsyncConnection, caller: Principal, task_id: str) -> RowMapping:
        at = await self.casework.clock.at(conn)
        if (task := await errands.find(conn, caller.tenant, task_id, at=at)) is None:
            raise unknown("task", task_id)
        return task

    async def _conflict(self, conn: AsyncConnection, caller: Principal, task_id: str) -> DomainError:
        task = await self._found(conn, caller, task_id)
        return DomainError(409, "conflict", f"task {task_id} is {task.state}", state=task.state, claimed_by=task.claimed_by)


async def _tell(conn: AsyncConnection, held: Held, said: Entry) -> None:
    await story.tell(conn, [said])
    await cases.save(conn, [held])


async def tell_late(conn: AsyncConnection, desk: Desk, *, limit: int, now: datetime) -> int:
    """Announce the next tasks that were not done in time, once each; return how many."""
    found = await errands.late(conn, now, limit)
    if not found:
        return 0
    held = {one.case.case_id: one for one in await cases.lock_rows(conn, {key for key, _ in found})}
    out = Outgoing()
    touched: dict[str, Held] = {}
    for task in await errands.breach(conn, found, now):
        one = touched.get(task.case_id) or held[task.case_id]
        at = one.moment(now)
        desk.event(one.case, "case.task_overdue", at, out, reason=task.kind, task_id=task.task_id, queue=task.queue, due_at=task.due_at)
        touched[task.case_id] = replace(one, moved_at=at)
        desk.meters.breached.inc()
    await desk.save(conn, list(touched.values()), out)
    return len(found)
