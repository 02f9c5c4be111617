"""Experiments: begun, stopped, the spells that are part of them, and what guardrails measure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.domain.trials import Counted
from services.scheduler.store.arrays import transposed, unnest
from services.scheduler.store.policies import Which

_BEGIN = text(
    "insert into scheduler.experiments (tenant, policy, version, challenger, began_at)"
    " values (:tenant, :name, :version, :challenger, :at) on conflict do nothing"
)
_WANTED = {"tenant": "text", "name": "text", "version": "int"}
_STOPPED = text(
    f"select e.tenant, e.policy, e.version from {unnest(_WANTED, 'k')} join scheduler.experiments e"
    " on (e.tenant, e.policy, e.version) = (k.tenant, k.name, k.version) where e.stopped_at is not null"
)
_RUNNING = text("select tenant, policy, version from scheduler.experiments where stopped_at is null order by 1, 2, 3")
_CHALLENGED = text(
    "select tenant, policy, version from scheduler.experiments where tenant = :tenant and challenger = :challenger and stopped_at is null"
)
_STOP = text(
    "update scheduler.experiments set stopped_at = :at, guardrail = :guardrail"
    " where tenant = :tenant and policy = :name and version = :version and stopped_at is null returning policy"
)
_TRIAL = {
    "tenant": "text", "borrower_id": "text", "case_id": "text", "spell": "int", "policy": "text", "version": "int", "arm": "text",
    "began_at": "timestamptz",
}  # fmt: skip
_ENTER = text(
    f"insert into scheduler.trials ({', '.join(_TRIAL)}) select {', '.join(_TRIAL)} from {unnest(_TRIAL, 'v')}"
    " order by tenant, borrower_id, case_id, spell on conflict do nothing"
)
COMPLAINED = "(t.kind in ('contact.complained', 'case.complaint_opened') or t.kind = 'borrower.status' and t.reason = 'complaint')"
OPTED_OUT = "(t.kind = 'contact.opted_out' or t.kind = 'borrower.status' and t.reason = 'opt_out')"
GRIEVANCES = "('contact.complained', 'case.complaint_opened', 'contact.opted_out', 'borrower.status')"
IN_SPELL = (
    "t.at >= x.began_at and not exists (select from scheduler.timeline o where (o.tenant, o.borrower_id, o.case_id)"
    " = (x.tenant, x.borrower_id, x.case_id) and o.kind = 'case.opened' and o.at > x.began_at and o.at <= t.at)"
)
"""Whether an entry `t` belongs to the spell of the trial `x`: it came before the next one began."""
_COUNT = text(
    "select (select count(*) from scheduler.trials x where x.tenant = :tenant and x.policy = :name and x.version = :version"
    " and x.arm = 'challenger') as cases,"
    f" count(distinct (x.borrower_id, x.case_id, x.spell)) filter (where {COMPLAINED}) as complaints,"
    f" count(distinct (x.borrower_id, x.case_id, x.spell)) filter (where {OPTED_OUT}) as opt_outs"
    " from scheduler.experiments e join scheduler.timeline t on t.tenant = e.tenant and t.at >= e.began_at"
    " join scheduler.trials x on (x.tenant, x.borrower_id, x.case_id) = (t.tenant, t.borrower_id, t.case_id)"
    " where e.tenant = :tenant and e.policy = :name and e.version = :version and t.kind in"
    f" {GRIEVANCES} and (x.policy, x.version, x.arm) = (e.policy, e.version, 'challenger') and {IN_SPELL}"
)
"""Goes from the few complaints to their spells, never over everybody's timelines."""


@dataclass(frozen=True, slots=True)
class TrialRow:
    """A spell that begins as part of an experiment."""

    tenant: str
    borrower_id: str
    case_id: str
    spell: int
    policy: str
    version: int
    arm: str
    began_at: datetime


async def begin(conn: AsyncConnection, which: Which, challenger: str, at: datetime) -> None:
    """Record the start of an experiment; one that was already started, or stopped, is unchanged."""
    await conn.execute(_BEGIN, {**_key(which), "challenger": challenger, "at": at})


async def stopped(conn: AsyncConnection, wanted: Iterable[Which]) -> set[Which]:
    """Return the champions among these whose experiment was stopped."""
    return {Which(*row) for row in await conn.execute(_STOPPED, transposed(_WANTED, sorted(wanted)))}


async def running(conn: AsyncConnection) -> list[Which]:
    """Return the champions of all tenants whose experiment was not stopped, active or not."""
    return [Which(*row) for row in await conn.execute(_RUNNING)]


async def challenged_by(conn: AsyncConnection, which: Which) -> set[Which]:
    """Return the champions that have this version as the challenger in an experiment that was not stopped."""
    values = {"tenant": which.tenant, "challenger": f"{which.name}@{which.version}"}
    return {Which(*row) for row in await conn.execute(_CHALLENGED, values)}


async def stop(conn: AsyncConnection, which: Which, guardrail: str, at: datetime) -> bool:
    """Stop an experiment; return False if somebody else has."""
    return (await conn.execute(_STOP, {**_key(which), "guardrail": guardrail, "at": at})).one_or_none() is not None


async def enter(conn: AsyncConnection, rows: Sequence[TrialRow]) -> None:
    """Store the spells that begin as part of an experiment."""
    if rows:
        await conn.execute(_ENTER, transposed(_TRIAL, rows))


async def counted(conn: AsyncConnection, which: Which) -> Counted:
    """Return what the guardrails of an experiment measure."""
    return Counted(*(await conn.execute(_COUNT, _key(which))).one())


def _key(which: Which) -> dict[str, object]:
    return {"tenant": which.tenant, "name": which.name, "version": which.version}
