"""Attempts: written before a provider is called, closed by its answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common import ids
from libs.common.db.arrays import column, joined
from libs.common.value import Value
from services.notifier.domain.delivery import Task
from services.notifier.domain.receipts import state_of
from services.notifier.domain.states import Reached
from services.notifier.store.borrowers import arrays, joined_arrays


class Attempt(Value, frozen=True):
    """One try of a delivery on one channel."""

    tenant: str
    borrower_id: str
    task_id: str
    channel: str
    turn: int
    provider: str
    locale: str | None = None
    version: int | None = None

    @property
    def key(self) -> Task:
        """Return the key of its delivery."""
        return self.tenant, self.borrower_id, self.task_id

    @property
    def message_id(self) -> str:
        """Return the id of this attempt's message, which providers return in their receipts."""
        return _message_id(self.tenant, self.task_id, self.channel, self.turn)


@lru_cache(maxsize=1024)
def _message_id(tenant: str, task_id: str, channel: str, turn: int) -> str:
    """Return the id; needed both when the attempt is written and when the message is made."""
    return ids.derived("m", tenant, task_id, channel, turn)


class Closing(Value, frozen=True):
    """How an attempt is closed by its result."""

    attempt: Attempt
    result: str
    again: bool = False
    provider_ref: str | None = None
    code: str | None = None
    fault: str | None = None
    receipt: str | None = None


_BEGIN = text(
    "insert into notifier.attempts as a"
    " (tenant, borrower_id, task_id, channel, turn, provider, message_id, locale, version, began_at)"
    " select tenant, borrower_id, task_id, channel, turn, provider, message_id, locale, version, :now"
    f" from unnest({column('tenants')}, {column('borrowers')}, {column('tasks')}, {column('channels')}, cast(:turns as int[]),"
    f" {column('providers')}, {column('messages')}, {column('locales')}, cast(:versions as int[]))"
    " as n(tenant, borrower_id, task_id, channel, turn, provider, message_id, locale, version)"
    " on conflict (tenant, borrower_id, task_id, channel) do update set turn = excluded.turn, provider = excluded.provider,"
    " message_id = excluded.message_id, locale = excluded.locale, version = excluded.version, provider_ref = null, receipt = null,"
    " began_at = excluded.began_at, ended_at = null, result = null, again = false, code = null, fault = null"
    " where a.again returning tenant, borrower_id, task_id"
)


async def begin(conn: AsyncConnection, attempts: Sequence[Attempt], *, now: datetime) -> set[tuple[str, str, str]]:
    """Write attempts before anything goes out; return those that may go: one per task and channel, or again if it surely did not go out."""
    ordered = sorted(attempts, key=lambda a: (a.tenant, a.borrower_id, a.task_id, a.channel))
    if not ordered:
        return set()
    rows = await conn.execute(
        _BEGIN,
        {
            **joined_arrays(a.key[:2] for a in ordered), "tasks": joined([a.task_id for a in ordered]),
            "channels": joined([a.channel for a in ordered]), "providers": joined([a.provider for a in ordered]),
            "messages": joined([a.message_id for a in ordered]), "locales": joined([a.locale for a in ordered]),
            "turns": [a.turn for a in ordered], "versions": [a.version for a in ordered], "now": now,
        },
    )  # fmt: skip
    return {(tenant, borrower, task) for tenant, borrower, task in rows}


async def close(conn: AsyncConnection, closings: Sequence[Closing], *, now: datetime) -> None:
    """Record results, each only on its own attempt and not on a later one; what a receipt has said stays."""
    if not closings:
        return
    await conn.execute(
        text(
            "update notifier.attempts a set ended_at = :now, result = n.result, again = n.again, provider_ref = n.ref, code = n.code,"
            " fault = n.fault, receipt = n.receipt"
            " from unnest(cast(:tenants as text[]), cast(:borrowers as text[]), cast(:tasks as text[]), cast(:channels as text[]),"
            " cast(:turns as int[]), cast(:results as text[]), cast(:agains as boolean[]), cast(:refs as text[]), cast(:codes as text[]),"
            " cast(:faults as text[]), cast(:receipts as text[]))"
            " as n(tenant, borrower_id, task_id, channel, turn, result, again, ref, code, fault, receipt)"
            " where a.tenant = n.tenant and a.borrower_id = n.borrower_id and a.task_id = n.task_id and a.channel = n.channel"
            " and a.turn = n.turn and a.receipt is null"
        ),
        {
            **_arrays([closing.attempt for closing in closings]), "now": now,
            "turns": [c.attempt.turn for c in closings], "results": [c.result for c in closings], "agains": [c.again for c in closings],
            "refs": [c.provider_ref for c in closings], "codes": [c.code for c in closings], "faults": [c.fault for c in closings],
            "receipts": [c.receipt for c in closings],
        },
    )  # fmt: skip


async def reached(conn: AsyncConnection, keys: Sequence[tuple[str, str, str]]) -> dict[tuple[str, str, str], list[Reached]]:
    """Return what is known about all attempts of these deliveries (tenant, borrower, task), except those that surely did not go out."""
    if not keys:
        return {}
    rows = await conn.execute(
        text(
            "select tenant, borrower_id, task_id, channel, result, receipt"
            " from unnest(cast(:tenants as text[]), cast(:borrowers as text[]), cast(:tasks as text[])) as w(tenant, borrower_id, task_id)"
            " join notifier.attempts using (tenant, borrower_id, task_id) order by tenant, borrower_id, task_id, channel"
        ),
        {**arrays(key[:2] for key in keys), "tasks": [key[2] for key in keys]},
    )
    found: dict[tuple[str, str, str], list[Reached]] = {key: [] for key in keys}
    for row in rows:
        if (state := state_of(row.result, row.receipt)) is not None:
            found[row.tenant, row.borrower_id, row.task_id].append(Reached(state, row.channel))
    return found


async def failed_by(conn: AsyncConnection, keys: Sequence[tuple[str, str, str]]) -> dict[tuple[str, str, str, str], str]:
    """Return by channel the provider at these deliveries' last attempt, where the provider failed and nothing went out."""
    if not keys:
        return {}
    rows = await conn.execute(
        text(
            "select tenant, borrower_id, task_id, channel, provider"
            " from unnest(cast(:tenants as text[]), cast(:borrowers as text[]), cast(:tasks as text[])) as w(tenant, borrower_id, task_id)"
            " join notifier.attempts using (tenant, borrower_id, task_id) where again and fault in ('provider', 'config', 'throttled')"
        ),
        {**arrays(key[:2] for key in keys), "tasks": [key[2] for key in keys]},
    )
    return {(row.tenant, row.borrower_id, row.task_id, row.channel): row.provider for row in rows}


def _arrays(attempts: Sequence[Attempt]) -> dict[str, list[str]]:
    return {
        **arrays((a.tenant, a.borrower_id) for a in attempts),
        "tasks": [a.task_id for a in attempts], "channels": [a.channel for a in attempts],
    }  # fmt: skip
