"""Receipts: the sealed requests they came in, each statement once, and the attempts they are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.domain.receipts import Receipt, Reduced, Standing, reduced
from services.notifier.domain.results import Fault
from services.notifier.store.attempts import Attempt
from services.notifier.store.borrowers import arrays


@dataclass(frozen=True, slots=True)
class Word:
    """A receipt under an id by which repeats are recognised."""

    id: bytes
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Told:
    """An attempt and everything ever said about it."""

    attempt: Attempt
    loans: tuple[str, ...]
    reduced: Reduced
    provider_ref: str | None
    code: str | None


async def keep(
    conn: AsyncConnection, tenant: str, provider: str, words: Sequence[Word], *, sealed: bytes | None, now: datetime
) -> list[Word]:  # fmt: skip
    """Store the statements not heard before, with the request that brought them (None if already stored), and return them."""
    ordered = sorted({word.id: word for word in words}.values(), key=lambda word: word.id)
    if not ordered:
        return []
    said = [word.receipt for word in ordered]
    rows = await conn.execute(
        text(
            "insert into notifier.receipts (tenant, provider, id, message_id, provider_ref, standing, code, fault, event_id, at,"
            " received_at) select :tenant, :provider, id, message_id, provider_ref, standing, code, fault, event_id, at, :now"
            " from unnest(cast(:ids as bytea[]), cast(:messages as text[]), cast(:refs as text[]), cast(:standings as int[]),"
            " cast(:codes as text[]), cast(:faults as text[]), cast(:events as text[]), cast(:ats as timestamptz[]))"
            " as n(id, message_id, provider_ref, standing, code, fault, event_id, at)"
            " on conflict (tenant, provider, id) do nothing returning id"
        ),
        {
            "tenant": tenant, "provider": provider, "now": now, "ids": [word.id for word in ordered],
            "messages": [one.message_id for one in said], "refs": [one.provider_ref for one in said],
            "standings": [one.standing for one in said], "codes": [one.code for one in said], "faults": [one.fault for one in said],
            "events": [one.event_id for one in said], "ats": [one.at for one in said],
        },
    )  # fmt: skip
    new = {row.id for row in rows}
    if new and sealed is not None:
        callback = await keep_request(conn, tenant, provider, sealed=sealed, now=now)
        await conn.execute(
            text(
                "update notifier.receipts set callback = :callback"
                " where tenant = :tenant and provider = :provider and id = any(cast(:new as bytea[]))"
            ),
            {"tenant": tenant, "provider": provider, "callback": callback, "new": sorted(new)},
        )
    return [word for word in ordered if word.id in new]


async def keep_request(conn: AsyncConnection, tenant: str, provider: str, *, sealed: bytes, now: datetime) -> int:
    """Store a provider's request as it came, and return its number."""
    row = await conn.execute(
        text(
            "insert into notifier.callbacks (tenant, provider, received_at, sealed) values (:tenant, :provider, :now, :sealed) returning id"
        ),
        {"tenant": tenant, "provider": provider, "now": now, "sealed": sealed},
    )
    return int(row.scalar_one())


async def attempts_of(conn: AsyncConnection, tenant: str, provider: str, receipts: Sequence[Receipt]) -> list[Attempt]:
    """Return the attempts that receipts are about: by our id if the receipt has it, else by the provider's."""
    rows = await conn.execute(
        text(
            "select tenant, borrower_id, task_id, channel, turn, provider from unnest(cast(:messages as text[])) as w(message_id)"
            " join notifier.attempts a using (message_id) where a.tenant = :tenant and a.provider = :provider"
            " union select tenant, borrower_id, task_id, channel, turn, provider from unnest(cast(:refs as text[])) as w(provider_ref)"
            " join notifier.attempts a using (provider_ref) where a.tenant = :tenant and a.provider = :provider"
        ),
        {
            "tenant": tenant, "provider": provider, "messages": sorted({one.message_id for one in receipts if one.message_id}),
            "refs": sorted({one.provider_ref for one in receipts if one.provider_ref and not one.message_id}),
        },
    )  # fmt: skip
    return [Attempt(row.tenant, row.borrower_id, row.task_id, row.channel, row.turn, row.provider) for row in rows]


@dataclass(frozen=True, slots=True)
class Concerned:
    """An attempt that a receipt reports a fault for, and the address it went to."""

    attempt: Attempt
    lookup: str | None
    fault: Fault
    code: str | None


async def concerned(conn: AsyncConnection, tenant: str, provider: str, receipts: Sequence[Receipt]) -> list[Concerned]:
    """Return the attempts these receipts are about, each with what its receipt says about the person."""
    rows = await conn.execute(
        text(
            "select distinct a.tenant, a.borrower_id, a.task_id, a.channel, a.turn, a.provider, c.lookup, w.fault, w.code"
            " from unnest(cast(:messages as text[]), cast(:refs as text[]), cast(:faults as text[]), cast(:codes as text[]))"
            " as w(message_id, ref, fault, code) join notifier.attempts a on a.tenant = :tenant and a.provider = :provider"
            " and (a.message_id = w.message_id or (w.message_id is null and a.provider_ref = w.ref))"
            " left join notifier.contacts c on c.tenant = a.tenant and c.borrower_id = a.borrower_id"
            " and c.contact_id = a.task_id || '/' || a.channel"
        ),
        {
            "tenant": tenant, "provider": provider, "messages": [one.message_id for one in receipts],
            "refs": [one.provider_ref for one in receipts], "faults": [one.fault for one in receipts],
            "codes": [one.code for one in receipts],
        },
    )  # fmt: skip
    return [
        Concerned(Attempt(row.tenant, row.borrower_id, row.task_id, row.channel, row.turn, row.provider), row.lookup, row.fault, row.code)
        for row in rows
    ]


async def told(conn: AsyncConnection, attempts: Sequence[Attempt]) -> list[Told]:
    """Return everything said about these attempts, under their borrowers' locks: the same whatever came first."""
    rows = await conn.execute(
        text(
            "select a.tenant, a.borrower_id, a.task_id, a.channel, a.turn, a.provider, a.receipt, coalesce(c.loans, '{}') as loans,"
            " array_agg(r.standing order by r.id) as standings, array_agg(r.fault order by r.id) as faults,"
            " array_agg(r.code order by r.id) as codes, max(r.provider_ref) as ref"
            " from unnest(cast(:tenants as text[]), cast(:borrowers as text[]), cast(:tasks as text[]), cast(:channels as text[]))"
            " as w(tenant, borrower_id, task_id, channel) join notifier.attempts a using (tenant, borrower_id, task_id, channel)"
            " join notifier.receipts r on r.tenant = a.tenant and r.provider = a.provider"
            " and (r.message_id = a.message_id or (r.message_id is null and r.provider_ref = a.provider_ref))"
            " left join notifier.contacts c on c.tenant = a.tenant and c.borrower_id = a.borrower_id"
            " and c.contact_id = a.task_id || '/' || a.channel"
            " group by a.tenant, a.borrower_id, a.task_id, a.channel, a.turn, a.provider, a.receipt, c.loans"
        ),
        {
            **arrays((a.tenant, a.borrower_id) for a in attempts),
            "tasks": [a.task_id for a in attempts], "channels": [a.channel for a in attempts],
        },
    )  # fmt: skip
    return [
        Told(
            Attempt(row.tenant, row.borrower_id, row.task_id, row.channel, row.turn, row.provider), tuple(row.loans),
            _reduced(row.standings, row.faults, row.codes, before=row.receipt), row.ref, _failure(row.standings, row.codes),
        )
        for row in rows
    ]  # fmt: skip


async def note(conn: AsyncConnection, told: Sequence[Told], *, now: datetime) -> None:
    """Record on attempts what their receipts come to; an attempt without a result was accepted after all."""
    known = [one for one in told if one.reduced.standing is not None]
    if not known:
        return
    await conn.execute(
        text(
            "update notifier.attempts a set receipt = n.word, again = false, ended_at = coalesce(a.ended_at, :now),"
            " provider_ref = coalesce(a.provider_ref, n.ref), result = case when n.word = 'failed' then coalesce(a.result, 'accepted')"
            " else 'accepted' end"
            " from unnest(cast(:tenants as text[]), cast(:borrowers as text[]), cast(:tasks as text[]), cast(:channels as text[]),"
            " cast(:turns as int[]), cast(:words as text[]), cast(:refs as text[]))"
            " as n(tenant, borrower_id, task_id, channel, turn, word, ref)"
            " where a.tenant = n.tenant and a.borrower_id = n.borrower_id and a.task_id = n.task_id and a.channel = n.channel"
            " and a.turn = n.turn"
        ),
        {
            **arrays((one.attempt.tenant, one.attempt.borrower_id) for one in known), "now": now,
            "tasks": [one.attempt.task_id for one in known], "channels": [one.attempt.channel for one in known],
            "turns": [one.attempt.turn for one in known], "words": [_word(one.reduced) for one in known],
            "refs": [one.provider_ref for one in known],
        },
    )  # fmt: skip


def _word(of: Reduced) -> str:
    return of.standing.name.lower() if of.standing is not None else ""


def _reduced(
    standings: Sequence[int | None], faults: Sequence[Fault], codes: Sequence[str | None], *, before: str | None
) -> Reduced:  # fmt: skip
    words = zip(standings, faults, codes, strict=True)
    receipts = (Receipt(None if standing is None else Standing(standing), fault=fault, code=code) for standing, fault, code in words)
    return reduced(receipts, Reduced(Standing[before.upper()]) if before else None)


def _failure(standings: Sequence[int | None], codes: Sequence[str | None]) -> str | None:
    """Return the code of a failure; always the same one if there are several."""
    found = [code for standing, code in zip(standings, codes, strict=True) if standing == Standing.FAILED and code]
    return min(found, default=None)
