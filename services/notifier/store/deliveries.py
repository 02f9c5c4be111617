"""Deliveries: taken in, claimed when due, and written back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.contact_tasks import ContactCancelled, ContactRequested
from libs.common.db.arrays import column, joined
from services.notifier.domain.delivery import Delivery, Task
from services.notifier.domain.states import Reached, State
from services.notifier.domain.verdicts import Decision
from services.notifier.store.borrowers import Who, arrays, joined_arrays
from services.notifier.store.queue import Key, entered, taken_out

_encode = msgspec.json.Encoder().encode
_request = msgspec.json.Decoder(ContactRequested).decode
_decisions = msgspec.json.Decoder(tuple[Decision, ...]).decode
_COLUMNS = (
    "d.tenant, d.borrower_id, d.task_id, d.request, d.state, d.reason, d.next_at, d.waiting, d.sequence, d.turn, d.tries,"
    " d.channel, d.spent, d.told, d.decision, d.cancelled, d.resolve_by, d.earlier_state, d.earlier_channel,"
    " d.lost_time, d.tried_since, d.revision"
)
_TASKS = "unnest(cast(:tenants as text[]), cast(:borrowers as text[]), cast(:tasks as text[])) as w(tenant, borrower_id, task_id)"
_OPEN = "state in ('pending', 'in_flight', 'sent')"
_ENDS = "d.state = 'pending' and d.lost_time is null"
"""What a cancel ends at once; if it may have been sent in the lost time, the claim will call it unknown."""
_EARLIER = "nullif(d.earlier_state, 'failed')"
"""What it is at least, if it may have gone out on a channel it has left."""
_NEW = (
    "with moved as (insert into notifier.deliveries as d"
    " (tenant, borrower_id, task_id, case_id, request, taken_at, expires_at, epoch, state, reason, next_at, sequence, resolve_by)"
    " select tenant, borrower_id, task_id, case_id, request, :now, expires_at, :epoch, state, reason, next_at, sequence, resolve_by"
    " from unnest(cast(:tenants as text[]), cast(:borrowers as text[]), cast(:tasks as text[]), cast(:cases as text[]),"
    " cast(:requests as bytea[]), cast(:ends as timestamptz[]), cast(:states as text[]), cast(:reasons as text[]),"
    " cast(:nexts as timestamptz[]), cast(:sequences as int[]), cast(:resolves as timestamptz[]))"
    " as n(tenant, borrower_id, task_id, case_id, request, expires_at, state, reason, next_at, sequence, resolve_by)"
    " on conflict (tenant, borrower_id, task_id) do "
)


def _reading(condition: str) -> TextClause:
    return text(
        f"select {_COLUMNS} from unnest({column('tenants')}, {column('borrowers')}, {column('tasks')}) as w(tenant, borrower_id, task_id)"
        " cross join lateral (select * from notifier.deliveries"
        " where tenant = w.tenant and borrower_id = w.borrower_id and task_id = w.task_id offset 0) d"
        f" where d.request is not null and {condition} order by d.next_at, d.tenant, d.borrower_id, d.task_id"
    )


_SAVE = text(
    "with moved as (update notifier.deliveries d set revision = d.revision + 1, state = n.state, reason = n.reason, next_at = n.next_at,"
    " waiting = n.waiting, sequence = n.sequence, turn = n.turn, tries = n.tries, channel = n.channel, told = n.told,"
    " decision = n.decision, resolve_by = n.resolve_by, earlier_state = n.earlier_state, earlier_channel = n.earlier_channel,"
    " lost_time = n.lost_time, tried_since = n.tried_since, spent = coalesce(string_to_array(n.spent, ','), '{}')"
    f" from unnest({column('tenants')}, {column('borrowers')}, {column('tasks')}, {column('states')}, {column('channels')},"
    f" {column('spents')}, {column('earliers')}, {column('earlier_on')}, {column('lost_times')}, cast(:reasons as text[]),"
    " cast(:tolds as text[]), cast(:nexts as timestamptz[]), cast(:waitings as boolean[]), cast(:sequences as int[]),"
    " cast(:turns as int[]), cast(:tries as int[]), cast(:resolves as timestamptz[]), cast(:tried_sinces as timestamptz[]),"
    " cast(:decisions as bytea[]))"
    " as n(tenant, borrower_id, task_id, state, channel, spent, earlier_state, earlier_channel, lost_time, reason, told, next_at,"
    " waiting, sequence, turn, tries, resolve_by, tried_since, decision)"
    " where d.tenant = n.tenant and d.borrower_id = n.borrower_id and d.task_id = n.task_id returning n.*),"
    f" {entered('moved')}, {taken_out('moved')} select 1"
)
_WAKE = text(
    "with moved as (update notifier.deliveries d set revision = d.revision + 1, next_at = :now, waiting = false,"
    " lost_time = case when d.lost_time is not null then 'touched' end"
    " from unnest(cast(:tenants as text[]), cast(:borrowers as text[])) as w(tenant, borrower_id)"
    " where d.tenant = w.tenant and d.borrower_id = w.borrower_id and (d.waiting and d.next_at > :now or d.lost_time is not null)"
    f" returning d.tenant, d.borrower_id, d.task_id, d.state, d.next_at), {entered('moved')} select 1"
)
_DUE, _STILL_OPEN, _ANY = map(_reading, ("d.next_at <= :now", f"d.next_at is not null and d.{_OPEN}", "true"))


async def take_requests(conn: AsyncConnection, deliveries: Sequence[Delivery], *, now: datetime, epoch: int) -> list[Delivery]:
    """Store new deliveries in key order and return those that were new; a task already stored or cancelled is unchanged."""
    ordered = sorted(deliveries, key=lambda delivery: delivery.key)
    if not ordered:
        return []
    rows = await conn.execute(
        text(f"{_NEW}nothing returning tenant, borrower_id, task_id, state, next_at), {entered('moved')} select * from moved"),
        {
            **_keys(ordered), "now": now, "epoch": epoch,
            "cases": [d.request.case_id for d in ordered], "requests": [_encode(d.request) for d in ordered],
            "ends": [d.request.expires_at for d in ordered], "states": [d.state.value for d in ordered],
            "reasons": [d.reason for d in ordered], "nexts": [d.next_at for d in ordered], "sequences": [d.sequence for d in ordered],
            "resolves": [d.resolve_by for d in ordered],
        },
    )  # fmt: skip
    new = {(row.tenant, row.borrower_id, row.task_id) for row in rows}
    return [delivery for delivery in ordered if delivery.key in new]


async def cancel(conn: AsyncConnection, cancels: Sequence[tuple[str, ContactCancelled]], *, now: datetime, epoch: int) -> list[Delivery]:
    """Cancel what is not in flight and return it; what is in flight is not retried; an unknown task leaves a row as its tombstone.

    What may have gone out on an earlier channel tries no other, and takes its state from there.
    """
    by_key = {(tenant, cancelled.borrower_id, cancelled.task_id): cancelled for tenant, cancelled in cancels}
    ordered = sorted(by_key.items())
    if not ordered:
        return []
    nothing: list[None] = [None] * len(ordered)
    rows = await conn.execute(
        text(            _NEW
            + "update set revision = d.revision + 1, cancelled = true, waiting = false,"
            " lost_time = case when d.lost_time is not null then 'touched' end,"
            f" state = case when {_ENDS} then coalesce({_EARLIER}, excluded.state) else d.state end,"
            f" reason = case when {_ENDS} and {_EARLIER} is null then excluded.reason else d.reason end,"
            f" channel = case when {_ENDS} then coalesce(d.earlier_channel, d.channel) else d.channel end,"
            f" next_at = case when d.state = 'in_flight' or d.lost_time is not null then d.next_at"
            " when d.state = 'pending' and d.earlier_state = 'unknown' then d.resolve_by end,"
            f" sequence = d.sequence + case when {_ENDS} and {_EARLIER} is null then 1 else 0 end"
            " where d.state in ('pending', 'in_flight') or (d.state = 'sent' and d.next_at is not null)"
            f" returning {_COLUMNS}), {entered('moved')}, {taken_out('moved')} select * from moved"),
        {
            **arrays(key[:2] for key, _ in ordered), "tasks": [key[2] for key, _ in ordered], "now": now, "epoch": epoch,
            "cases": [cancelled.case_id for _, cancelled in ordered], "requests": nothing, "ends": nothing,
            "states": [State.CANCELLED.value] * len(ordered), "reasons": [cancelled.reason for _, cancelled in ordered],
            "nexts": nothing, "sequences": [0] * len(ordered), "resolves": nothing,
        },
    )  # fmt: skip
    return [_delivery(row) for row in rows if row.request is not None and row.state == State.CANCELLED]


async def wake(conn: AsyncConnection, who: Iterable[Who], *, now: datetime) -> None:
    """Make due what was waiting for something about these borrowers, or may have been in the lost time; their rows are locked."""
    await conn.execute(_WAKE, {**arrays(sorted(set(who))), "now": now})


async def claim(conn: AsyncConnection, keys: Sequence[Key], *, now: datetime) -> list[Delivery]:
    """Return those of these still due, in the order they became due; their borrowers are locked."""
    return await _read(conn, [(k.tenant, k.borrower_id, k.task_id) for k in keys], _DUE, {"now": now})


async def open_before(conn: AsyncConnection, *, epoch: int, after: Task, limit: int) -> list[Task]:
    """Return tasks taken in before this epoch that may still be sent, in key order after `after`."""
    rows = await conn.execute(
        text(
            "select tenant, borrower_id, task_id from notifier.queue q join notifier.deliveries d using (tenant, borrower_id, task_id)"
            f" where q.{_OPEN} and d.epoch < :epoch and (tenant, borrower_id, task_id) > (:tenant, :borrower, :task)"  # no value in it
            " order by tenant, borrower_id, task_id limit :limit"
        ),
        {"epoch": epoch, "limit": limit, "tenant": after[0], "borrower": after[1], "task": after[2]},
    )
    return [(row.tenant, row.borrower_id, row.task_id) for row in rows]


async def open_of(conn: AsyncConnection, keys: Sequence[tuple[str, str, str]]) -> list[Delivery]:
    """Return those of these that may still be sent; their borrowers are locked."""
    return await _read(conn, keys, _STILL_OPEN, {})


async def carry_over(conn: AsyncConnection, deliveries: Sequence[Delivery], *, epoch: int) -> None:
    """Move locked deliveries into this epoch."""
    await conn.execute(
        text(
            f"update notifier.deliveries d set epoch = :epoch from {_TASKS}"  # no value in it
            " where (d.tenant, d.borrower_id, d.task_id) = (w.tenant, w.borrower_id, w.task_id)"
        ),
        {**_keys(deliveries), "epoch": epoch},
    )


async def locked(conn: AsyncConnection, keys: Sequence[tuple[str, str, str]]) -> list[Delivery]:
    """Return deliveries in any state; their borrowers are locked."""
    return await _read(conn, keys, _ANY, {})


async def save(conn: AsyncConnection, deliveries: Sequence[Delivery]) -> None:
    """Write locked deliveries back."""
    if not deliveries:
        return
    await conn.execute(
        _SAVE,
        {
            **joined_arrays(d.key[:2] for d in deliveries), "tasks": joined([d.task_id for d in deliveries]),
            "states": joined([d.state.value for d in deliveries]), "channels": joined([d.channel for d in deliveries]),
            "spents": joined([",".join(d.spent) or None for d in deliveries]),
            "earliers": joined([d.earlier.state.value if d.earlier else None for d in deliveries]),
            "earlier_on": joined([d.earlier.channel if d.earlier else None for d in deliveries]),
            "lost_times": joined([d.lost_time for d in deliveries]),
            "reasons": [d.reason for d in deliveries], "tolds": [d.told for d in deliveries],
            "nexts": [d.next_at for d in deliveries], "waitings": [d.waiting for d in deliveries],
            "sequences": [d.sequence for d in deliveries], "turns": [d.turn for d in deliveries],
            "tries": [d.tries for d in deliveries], "resolves": [d.resolve_by for d in deliveries],
            "tried_sinces": [d.tried_since for d in deliveries],
            "decisions": [_encode(d.decisions) if d.decisions else None for d in deliveries],
        },
    )  # fmt: skip


async def _read(conn: AsyncConnection, keys: Sequence[Task], statement: TextClause, values: dict[str, object]) -> list[Delivery]:
    """Return deliveries under their borrowers' locks, which every writer holds: locking each delivery would be a write to each."""
    if not keys:
        return []
    rows = await conn.execute(statement, {**joined_arrays(key[:2] for key in keys), "tasks": joined([key[2] for key in keys]), **values})
    return [_delivery(row) for row in rows]


def _delivery(row: Row[tuple[Any, ...]]) -> Delivery:
    """Return a row of `_COLUMNS` as a delivery; by position, since a name costs a look-up and there are twenty."""
    columns: Sequence[Any] = tuple(row)
    tenant, borrower, task, request, state, reason, next_at, waiting, sequence, turn, *others = columns
    tries, channel, spent, told, decision, cancelled, resolve_by, earlier, earlier_on, lost_time, tried_since, revision = others
    return Delivery(
        tenant, borrower, task, _request(request), State(state), reason, next_at, waiting, sequence, turn, tries, channel, tuple(spent),
        cancelled, told, _decisions(decision) if decision else (), resolve_by, Reached(State(earlier), earlier_on) if earlier else None,
        lost_time=lost_time, tried_since=tried_since, revision=revision,
    )  # fmt: skip


def _keys(deliveries: Sequence[Delivery]) -> dict[str, list[str]]:
    return {**arrays((d.tenant, d.borrower_id) for d in deliveries), "tasks": [d.task_id for d in deliveries]}
