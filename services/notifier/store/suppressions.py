"""Suppressions: written when contacts must end, read under the borrower's lock, lifted but never deleted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common import ids
from services.notifier.domain.replies import Ending
from services.notifier.domain.suppressions import ANYBODY, Ground, Suppression
from services.notifier.store.borrowers import Borrower, Who, arrays

_SHOWN = "s.id, s.borrower_id, s.channel, s.ground, s.since, s.source, s.provider, s.task_id, s.lifted_at, s.lifted_by, s.lifted_why"

_OVERTAKEN = (
    "exists (select from notifier.addresses a join notifier.consents c using (tenant, borrower_id)"
    " where a.tenant = s.tenant and a.lookup = s.lookup and c.granted and c.at > s.since and s.channel in (c.channel, '*'))"
)
"""Whether somebody with the address has since consented to the channel."""


@dataclass(frozen=True, slots=True)
class Source:
    """The source of a suppression: a reply, a receipt, an answer or a link, from which provider, about which contact."""

    kind: str
    provider: str | None = None
    task_id: str | None = None


@dataclass(frozen=True, slots=True)
class Lift:
    """Who lifts suppressions, when and why."""

    by: str
    why: str
    at: datetime


async def keep(conn: AsyncConnection, tenant: str, endings: Collection[tuple[Ending, Source]], *, now: datetime) -> dict[Ending, str]:
    """Write suppressions in key order, and return with their ids those that are new.

    One from before a consent no longer holds against it: said again, it is new.
    """
    by_key = {(e.lookup, e.borrower_id, e.channel, e.ground.value): (e, source) for e, source in endings}
    ordered = [by_key[key] for key in sorted(by_key)]
    if not ordered:
        return {}
    made = {ids.fresh(): ending for ending, _ in ordered}
    rows = await conn.execute(
        text(
            "insert into notifier.suppressions as s (tenant, id, borrower_id, channel, lookup, ground, since, source, provider, task_id)"
            " select :tenant, id, borrower_id, channel, lookup, ground, :now, source, provider, task_id from unnest(cast(:ids as text[]),"
            " cast(:borrowers as text[]), cast(:channels as text[]), cast(:lookups as text[]), cast(:grounds as text[]),"
            " cast(:sources as text[]), cast(:providers as text[]), cast(:tasks as text[]))"
            " as n(id, borrower_id, channel, lookup, ground, source, provider, task_id)"
            " on conflict (tenant, lookup, borrower_id, channel, ground) where lifted_at is null do update set since = excluded.since,"
            f" id = case when {_OVERTAKEN} then excluded.id else s.id end returning id"
        ),
        {
            "tenant": tenant, "now": now, "ids": list(made), "borrowers": [e.borrower_id for e, _ in ordered],
            "channels": [e.channel for e, _ in ordered], "lookups": [e.lookup for e, _ in ordered],
            "grounds": [e.ground.value for e, _ in ordered], "sources": [source.kind for _, source in ordered],
            "providers": [source.provider for _, source in ordered], "tasks": [source.task_id for _, source in ordered],
        },
    )  # fmt: skip
    return {made[row.id]: row.id for row in rows if row.id in made}


async def standing(conn: AsyncConnection, borrowers: Mapping[Who, Borrower]) -> dict[Who, tuple[Suppression, ...]]:
    """Return what is suppressed for these borrowers: at their addresses, whoever else has them, and for the borrowers themselves."""
    held = [(who, a.lookup) for who, one in borrowers.items() if one.profile for a in one.profile.addresses]
    rows = await conn.execute(
        text(
            "select w.tenant, w.borrower_id, s.channel, s.ground, w.lookup, s.since"
            " from unnest(cast(:of as text[]), cast(:owners as text[]), cast(:lookups as text[])) as w(tenant, borrower_id, lookup)"
            " join notifier.suppressions s using (tenant, lookup)"
            " where s.borrower_id = :anybody and s.lifted_at is null"
            " union all select w.tenant, w.borrower_id, s.channel, s.ground, s.lookup, s.since"
            " from unnest(cast(:tenants as text[]), cast(:borrowers as text[])) as w(tenant, borrower_id)"
            " join notifier.suppressions s using (tenant, borrower_id) where s.borrower_id <> '' and s.lifted_at is null"
        ),
        {
            **arrays(borrowers), "anybody": ANYBODY, "of": [who[0] for who, _ in held], "owners": [who[1] for who, _ in held],
            "lookups": [lookup for _, lookup in held],
        },
    )  # fmt: skip
    found: dict[Who, list[Suppression]] = {}
    for row in rows:
        found.setdefault((row.tenant, row.borrower_id), []).append(Suppression(Ground(row.ground), row.channel, row.lookup, row.since))
    return {who: tuple(each) for who, each in found.items()}


async def lift_replies(conn: AsyncConnection, tenant: str, lookups: Sequence[str], lift: Lift, *, said_at: datetime) -> int:
    """Lift opt-outs that had come from these addresses by the time this was said, and nothing else: a later word may have overtaken it."""
    done = await conn.execute(
        text(
            "update notifier.suppressions set lifted_at = :at, lifted_by = :by, lifted_why = :why"
            " where tenant = :tenant and ground = :ground and lifted_at is null and since <= :said"
            " and lookup = any(cast(:lookups as text[]))"
        ),
        {
            "tenant": tenant, "lookups": sorted(set(lookups)), "ground": Ground.OPT_OUT.value, "said": said_at, "at": lift.at,
            "by": lift.by, "why": lift.why,
        },
    )  # fmt: skip
    return int(done.rowcount)


async def lift_one(conn: AsyncConnection, tenant: str, suppression_id: str, lift: Lift) -> Row[tuple[object, ...]] | None:
    """Lift a suppression that stands, and return it; None if there is none with this id."""
    rows = await conn.execute(
        text(
            "update notifier.suppressions s set lifted_at = :at, lifted_by = :by, lifted_why = :why"
            f" where s.tenant = :tenant and s.id = :id and s.lifted_at is null returning {_SHOWN}"  # no value in it
        ),
        {"tenant": tenant, "id": suppression_id, "at": lift.at, "by": lift.by, "why": lift.why},
    )
    return rows.first()


async def shown(conn: AsyncConnection, tenant: str, borrower_id: str, lookups: Sequence[str]) -> Sequence[Row[tuple[object, ...]]]:
    """Return everything ever suppressed for a borrower, or at these addresses, oldest first."""
    rows = await conn.execute(
        text(
            f"select {_SHOWN} from notifier.suppressions s where s.tenant = :tenant"  # no value in it
            " and ((s.borrower_id = :borrower and s.borrower_id <> '')"
            " or (s.borrower_id = '' and s.lookup = any(cast(:lookups as text[]))))"
            " order by s.since, s.id"
        ),
        {"tenant": tenant, "borrower": borrower_id, "lookups": list(lookups)},
    )
    return rows.all()
