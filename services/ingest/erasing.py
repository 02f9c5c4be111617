"""Erasure: what was recorded of a borrower up to it is forgotten, in whatever order it arrives; what is newer stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.store import borrowers as store
from services.ingest.store.borrowers import ERASURE, BorrowerRow, Identity, Key, LogRow, Stamp

UPDATED, ERASED = "wallet.borrower.updated.v1", "wallet.borrower.erased.v1"
PROFILE_PARTS = ("name", "locale", "timezone", "jurisdictions", "addresses", "attributes")

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Erasures:
    """The newest erasure of each borrower of a batch, and those that this batch brings."""

    newest: Mapping[Key, Stamp]
    brought: Mapping[Key, Stamp]

    def overtakes(self, row: LogRow) -> bool:
        """Say whether the borrower was erased after this was recorded."""
        newest = self.newest.get(row.key)
        return newest is not None and row.stamp <= newest


async def of(conn: AsyncConnection, rows: Sequence[tuple[LogRow, A]]) -> Erasures:
    """Return the erasures that matter to these events; the borrowers are locked."""
    concerned = sorted({row.key for row, _ in rows if row.type in (UPDATED, ERASED)})
    if not concerned:
        return Erasures({}, {})
    known = {(value.tenant, value.borrower_id): value.stamp for value in await store.values_of(conn, concerned, (ERASURE,))}
    brought: dict[Key, Stamp] = {}
    for row in await _accepted(conn, rows):
        if (before := brought.get(row.key, known.get(row.key))) is None or before < row.stamp:
            brought[row.key] = row.stamp
    return Erasures({**known, **brought}, brought)


async def forget(conn: AsyncConnection, brought: Mapping[Key, Stamp], locked: Mapping[Key, BorrowerRow], now: datetime) -> None:
    """Take out what these erasures overtake, and destroy the key unless something newer is sealed under it."""
    if not brought:
        return
    values = await store.values_of(conn, sorted(brought), PROFILE_PARTS)
    standing = {(value.tenant, value.borrower_id) for value in values if value.stamp > brought[value.tenant, value.borrower_id]}
    erased = [locked[key] for key in sorted(brought.keys() - standing)]
    for row in erased:
        row.public_key = row.wrapped_key = None
        row.erased_at = now
    await store.save_keys(conn, erased)
    await store.forget(conn, brought, whats=PROFILE_PARTS, type_=UPDATED)


async def _accepted(conn: AsyncConnection, rows: Sequence[tuple[LogRow, A]]) -> list[LogRow]:
    """Return the erasures that the log will take: the first of their identity, here and there."""
    first: dict[Identity, LogRow] = {}
    for row, _ in rows:
        first.setdefault(row.identity, row)
    said = [row for row in first.values() if row.type == ERASED]
    standing = await store.digests(conn, said) if said else {}
    return [row for row in said if row.identity not in standing]
