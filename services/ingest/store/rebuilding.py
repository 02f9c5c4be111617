"""What a rebuild reads: loans, and what the log and the parked events say about them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.domain.fold import FOLD
from services.ingest.store.loans import Key, LoanRow, arrays


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A loan's row and what other tables have about it; `there` is false if the row itself is missing."""

    row: LoanRow
    there: bool
    parked: int
    undecided: int
    doubted_at: datetime | None
    """When the oldest of its undecided events was parked."""
    linked: bool
    """Whether the loan is linked to its borrower."""

    @property
    def records(self) -> int:
        """Return how many records there are besides accepted events: parked events, and decisions about them."""
        return 2 * self.parked - self.undecided


_COLUMNS = tuple(name for name in LoanRow.__struct_fields__ if name not in ("tenant", "loan_id", "read"))

_NEXT_KEYS = text(
    "select loan_id, max(events) from ("
    "(select loan_id, 0 as events from ingest.loans where tenant = :tenant and loan_id > :after order by loan_id limit :limit)"
    " union all (select loan_id, count(*) from ingest.events where tenant = :tenant and loan_id > :after"
    " group by loan_id order by loan_id limit :limit)) k group by loan_id order by loan_id limit :limit"
)
"""From both tables, so that a loan whose row is missing is found too."""
_STORED = text(
    f"select {', '.join('l.' + name for name in _COLUMNS)}, k.tenant, k.loan_id, l.tenant is not null as there, p.parked as parked_ever,"
    " p.undecided, p.doubted_at, l.borrower_id is not null and exists (select from ingest.borrower_loans b"
    " where b.tenant = k.tenant and b.borrower_id = l.borrower_id and b.loan_id = k.loan_id) as linked"
    " from unnest(cast(:tenants as text[]), cast(:loans as text[])) as k(tenant, loan_id)"
    " left join lateral (select * from ingest.loans where tenant = k.tenant and loan_id = k.loan_id) l on true"
    " cross join lateral (select count(*) as parked, count(*) filter (where resolved_at is null) as undecided,"
    " min(at) filter (where resolved_at is null) as doubted_at from ingest.parked where tenant = k.tenant and loan_id = k.loan_id) p"
)
_OUTDATED = text(
    f"select tenant, loan_id, accepted from ingest.loans where fold <> {FOLD} and (tenant, loan_id) > (:tenant, :loan_id)"
    " and (cast(:failed as boolean) or fold_error is null) order by tenant, loan_id limit :limit"
)
"""The version is a literal, not a parameter, so that the index `loans_outdated` can be used, which is empty except after an upgrade."""
_ABOUT = text(
    "select coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint from pg_inherits i join pg_class c on c.oid = i.inhrelid"
    " where i.inhparent = 'ingest.loans'::regclass"
)


async def next_keys(conn: AsyncConnection, tenant: str, after: str, *, limit: int) -> list[tuple[Key, int]]:
    """Return the next loans of a tenant in id order, each with the number of its events."""
    found = await conn.execute(_NEXT_KEYS, {"tenant": tenant, "after": after, "limit": limit})
    return [((tenant, row[0]), row[1]) for row in found.all()]


async def outdated(conn: AsyncConnection, after: Key, *, failed: bool, limit: int) -> list[tuple[Key, int]]:
    """Return the next loans with books of another release, each with its number of events; with or without those that failed to fold."""
    found = await conn.execute(_OUTDATED, {"tenant": after[0], "loan_id": after[1], "failed": failed, "limit": limit})
    return [((row[0], row[1]), row[2]) for row in found.all()]


async def stored(conn: AsyncConnection, keys: Sequence[Key]) -> list[Stored]:
    """Return what is stored about these loans, without locks."""
    found = await conn.execute(_STORED, arrays(keys))
    return [
        Stored(
            LoanRow(r.tenant, r.loan_id, *r[: len(_COLUMNS)]) if r.there else LoanRow(r.tenant, r.loan_id, fold=FOLD),
            r.there, r.parked_ever, r.undecided, r.doubted_at, r.linked,
        )
        for r in found.all()
    ]  # fmt: skip


async def about(conn: AsyncConnection) -> int:
    """Return roughly how many loans there are, by the database's last estimate."""
    return int((await conn.execute(_ABOUT)).scalar_one())
