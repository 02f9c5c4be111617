"""Deletes what is old enough, and knows since when everything is still there."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.store.reach import CONTACT, LOOKBACK

WALK_EVERY = timedelta(days=1)
"""The least by which the moment since which all facts are stored rises at once: each rise visits every debt."""
_DEBT = "tenant, borrower_id, loan_id"
_BEGINNING = {"tenant": "", "borrower_id": "", "loan_id": ""}


def _among(of: str) -> str:
    """Return the condition that a row belongs to this step's debts; stated on both sides of a join, so that it reads no others."""
    debt = f"({of}.tenant, {of}.borrower_id, {of}.loan_id)"
    return f"{debt} > (:tenant, :borrower_id, :loan_id) and {debt} <= (:last_tenant, :last_borrower_id, :last_loan_id)"


_TAKE = text(f"select before, {_DEBT} from scheduler.fact_walks for update skip locked")
_NOTE = text(f"update scheduler.fact_walks set before = :before, ({_DEBT}) = (:tenant, :borrower_id, :loan_id)")
_NEXT = text(
    f"select *, count(*) over () as number from (select {_DEBT} from scheduler.debts where ({_DEBT}) > (:tenant, :borrower_id, :loan_id)"
    f" order by {_DEBT} limit :most) w order by tenant desc, borrower_id desc, loan_id desc limit 1"
)
FORGET = text(
    f"delete from scheduler.debt_facts f where {_among('f')} and exists (select from scheduler.debt_facts g where {_among('g')}"
    " and (g.tenant, g.borrower_id, g.loan_id) = (f.tenant, f.borrower_id, f.loan_id)"
    " and (g.epoch, g.version, g.as_of) > (f.epoch, f.version, f.as_of) and g.known_at < :before)"
)
"""Each debt keeps the fact that was newest at that moment, because reports on later days start from it."""
_FORGET_CORRECTIONS = text(f"delete from scheduler.corrections c where {_among('c')} and c.said_at < :before")
_BEFORE = text("select before from scheduler.fact_walks")
_LINKS = text(
    "delete from scheduler.borrower_links where token_hash in (select token_hash from scheduler.borrower_links"
    " where expires_at < :before order by expires_at limit :most for update skip locked)"
)
_SIMULATIONS = text(
    "delete from scheduler.simulations s using (select tenant, simulation_id from scheduler.simulations o where o.ended_at < :before"
    " and not exists (select from scheduler.policy_versions v where (v.tenant, v.simulation_id) = (o.tenant, o.simulation_id))"
    " limit :most for update skip locked) o where (s.tenant, s.simulation_id) = (o.tenant, o.simulation_id)"
)
_CONTACTS = text(
    "delete from scheduler.reach where (tenant, borrower_id, what) in (select tenant, borrower_id, what from scheduler.reach"
    f" where starts_with(what, '{CONTACT}') and time < :before order by time limit :most for update skip locked)"
)


async def whole_since(conn: AsyncConnection) -> datetime:
    """Return the moment since which every fact is stored; read it after what it is about, since it only rises."""
    return (await conn.execute(_BEFORE)).scalar_one()  # type: ignore[no-any-return]  # typed by the column


async def forget_facts(conn: AsyncConnection, before: datetime, most: int) -> bool:
    """Delete facts superseded before a moment, and their corrections, for the next debts; False at the end of the walk."""
    walk = (await conn.execute(_TAKE)).mappings().one_or_none()
    if walk is None:
        return False
    upto = walk["before"]
    if not walk["tenant"]:
        if before < upto + WALK_EVERY:
            return False
        upto = before
    last = (await conn.execute(_NEXT, {**_place(walk), "most": most})).mappings().one_or_none()
    if last is not None:
        step = {**_place(walk), **_place(last, "last_"), "before": upto}
        await conn.execute(FORGET, step)
        await conn.execute(_FORGET_CORRECTIONS, step)
    more = last is not None and last["number"] == most
    await conn.execute(_NOTE, {"before": upto, **(_place(last) if last is not None and more else _BEGINNING)})
    return more


async def forget_links(conn: AsyncConnection, before: datetime, most: int) -> bool:
    """Delete links to the borrower's page that expired before a moment."""
    return (await conn.execute(_LINKS, {"before": before, "most": most})).rowcount == most


async def forget_contacts(conn: AsyncConnection, before: datetime, most: int) -> bool:
    """Forget contacts made elsewhere that no rule can count any more in what is simulated of the time since a moment."""
    return (await conn.execute(_CONTACTS, {"before": before - LOOKBACK, "most": most})).rowcount == most


async def forget_simulations(conn: AsyncConnection, before: datetime, most: int) -> bool:
    """Delete simulations that ended before a moment, except those a policy version was approved with."""
    return (await conn.execute(_SIMULATIONS, {"before": before, "most": most})).rowcount == most


def _place(row: RowMapping, prefix: str = "") -> dict[str, str]:
    return {f"{prefix}{name}": row[name] for name in _BEGINNING}
