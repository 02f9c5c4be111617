"""Messages by their provider's names for them and for their parts, for providers whose receipts use no other name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.domain.receipts import Receipt, Standing, of_whole

_MESSAGES = text(
    "select distinct p.message_id from unnest(cast(:refs as text[])) as w(ref)"
    " join notifier.parts p on p.tenant = :tenant and p.provider = :provider and p.provider_ref = w.ref"
)
_ONE_BY_ONE = text(
    "select pg_advisory_xact_lock(key) from (select distinct hashtextextended(:of || message, 0) as key"
    " from unnest(cast(:messages as text[])) as w(message) order by 1) as o"
)
_SAID = text(
    "select p.message_id, p.parts, p.provider_ref, r.standing, r.code, r.fault, r.at"
    " from unnest(cast(:messages as text[])) as w(message_id)"
    " join notifier.parts p on p.tenant = :tenant and p.provider = :provider and p.message_id = w.message_id"
    " join notifier.receipts r on r.tenant = p.tenant and r.provider = p.provider and r.provider_ref = p.provider_ref"
    " and r.message_id is null order by p.message_id"
)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a message, under the name that a tenant's provider gave it, and the number of parts."""

    tenant: str
    provider: str
    provider_ref: str
    message_id: str
    parts: int


async def lock(conn: AsyncConnection, tenant: str, provider: str, refs: Sequence[str]) -> None:
    """Serialise receipts for these names with the recording of the names; call before locking any borrower.

    Otherwise a receipt arriving while its message is being recorded would find no message, and the recording no receipt.
    """
    if not refs:
        return
    await conn.execute(
        text(
            "select pg_advisory_xact_lock(hashtextextended(:of || ref, 0))"
            " from (select ref from unnest(cast(:refs as text[])) as w(ref) order by hashtextextended(:of || ref, 0)) as o"
        ),
        {"of": f"notifier.ref/{tenant}/{provider}/", "refs": sorted(set(refs))},
    )


async def keep(conn: AsyncConnection, parts: Sequence[Part], *, surely: bool) -> None:
    """Store the names of parts; their number is certain (`surely`) if the provider's answer lists them, and otherwise a receipt's guess."""
    if not parts:
        return
    ordered = sorted(set(parts), key=lambda one: (one.tenant, one.provider, one.provider_ref))
    again = "update set parts = excluded.parts" if surely else "nothing"
    await conn.execute(
        text(
            "insert into notifier.parts (tenant, provider, provider_ref, message_id, parts)"
            " select * from unnest(cast(:tenants as text[]), cast(:providers as text[]), cast(:refs as text[]),"
            f" cast(:messages as text[]), cast(:parts as int[])) on conflict (tenant, provider, provider_ref) do {again}"
        ),
        {
            "tenants": [one.tenant for one in ordered], "providers": [one.provider for one in ordered],
            "refs": [one.provider_ref for one in ordered], "messages": [one.message_id for one in ordered],
            "parts": [one.parts for one in ordered],
        },
    )  # fmt: skip


async def known(conn: AsyncConnection, tenant: str, provider: str, refs: Sequence[str]) -> set[str]:
    """Return which of these are names of parts."""
    rows = await conn.execute(
        text(
            "select provider_ref from notifier.parts where tenant = :tenant and provider = :provider"
            " and provider_ref = any(cast(:refs as text[]))"
        ),
        {"tenant": tenant, "provider": provider, "refs": sorted(set(refs))},
    )
    return {row.provider_ref for row in rows}


async def whole(conn: AsyncConnection, tenant: str, provider: str, refs: Iterable[str]) -> list[Receipt]:
    """Return what the receipts of parts come to, for each message with a part under one of these names.

    Serialised per message: otherwise two parts reported at the same time would not see each other.
    """
    about = {"tenant": tenant, "provider": provider, "refs": sorted(set(refs))}
    messages = list((await conn.execute(_MESSAGES, about)).scalars())
    if not messages:
        return []
    await conn.execute(_ONE_BY_ONE, {"of": f"notifier.whole/{tenant}/{provider}/", "messages": messages})
    words: dict[str, list[tuple[int | str, Receipt]]] = {}
    counts: dict[str, int] = {}
    for row in await conn.execute(_SAID, {"tenant": tenant, "provider": provider, "messages": messages}):
        standing = None if row.standing is None else Standing(row.standing)
        counts[row.message_id] = max(row.parts, counts.get(row.message_id, 0))
        words.setdefault(row.message_id, []).append((row.provider_ref, Receipt(standing, code=row.code, fault=row.fault, at=row.at)))
    found = (of_whole(message_id, counts[message_id], said) for message_id, said in words.items())
    return [one for one in found if one is not None]
