"""The ledger of contacts, and the rows locked while a cap is counted."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.wallet_borrowers import ContactRecorded
from libs.common.db.arrays import column
from libs.common.value import Value, replace
from libs.compliance import CapKey, CapScope, Channel, Prior
from services.notifier.domain.reserving import RESERVED
from services.notifier.domain.verdicts import Decision
from services.notifier.store.borrowers import Who, arrays, joined_arrays

BY_US = "dunwell"
_encode = msgspec.json.Encoder().encode
AGAIN = (
    " on conflict (tenant, borrower_id, contact_id) do update set at = excluded.at, result = excluded.result,"
    " lookup = excluded.lookup, loans = excluded.loans, decision = excluded.decision where c.task_id is not null"
)
"""A retry of a contact of ours replaces its entry."""
_STANDS = "(c.reserved_until is null or c.reserved_until > :now)"
"""A reservation that has lapsed no longer counts."""
_NUMBERS = text(
    "insert into notifier.contact_numbers (tenant, borrower_id, contact_id, lookup)"
    " select * from unnest(cast(:tenants as text[]), cast(:borrowers as text[]), cast(:ids as text[]), cast(:lookups as text[]))"
    " on conflict do nothing"
)
_COLUMNS = "c.tenant, c.borrower_id, c.at, c.channel, c.result, c.by, c.direction, c.lookup, c.kind, c.loans, c.task_id, c.reserved_until"


class Contact(Value, frozen=True):
    """A contact in the ledger: by whom, about what, and for our own the decision and the facts it was based on."""

    tenant: str
    borrower_id: str
    contact_id: str
    at: datetime
    channel: str
    result: str
    by: str = BY_US
    direction: str = "outbound"
    lookup: str | None = None
    kind: str | None = None
    loans: tuple[str, ...] = ()
    task_id: str | None = None
    case_id: str | None = None
    decision: Decision | None = None
    lapses_at: datetime | None = None
    """When a slot held for a person stops counting."""
    numbers: tuple[str, ...] = ()
    """The addresses it may have gone to, if it is not known which: it counts for each of them."""

    def prior(self) -> Prior:
        """Return it as the gate counts it; the result of a contact that is only reserved is not known yet."""
        result = "" if self.result == RESERVED else self.result
        return Prior(self.at, Channel(self.channel), result, self.loans, self.by, self.direction, self.lookup, self.kind)


def recorded(tenant: str, contact: ContactRecorded) -> Contact:
    """Return a contact that somebody else made."""
    return Contact(
        tenant, contact.borrower_id, contact.contact_id, contact.at, contact.channel, contact.result or "", contact.by,
        loans=(contact.loan_id,) if contact.loan_id else (),
    )  # fmt: skip


def gone_to(contact: Contact, lookups: Iterable[str | None]) -> Contact:
    """Return a contact that went to one of these addresses."""
    known = tuple(sorted({lookup for lookup in lookups if lookup}))
    return replace(contact, lookup=known[0]) if len(known) == 1 else replace(contact, numbers=known)


def id_of(task_id: str, channel: str) -> str:
    """Return the ledger's id for one of our contacts."""
    return f"{task_id}/{channel}"


async def enter(conn: AsyncConnection, contacts: Sequence[Contact]) -> None:
    """Enter contacts in key order; a retry of one of ours replaces its entry."""
    by_key = {(c.tenant, c.borrower_id, c.contact_id): c for c in contacts}
    ordered = [by_key[key] for key in sorted(by_key)]
    if not ordered:
        return
    await conn.execute(
        text(
            "insert into notifier.contacts as c"
            " (tenant, borrower_id, contact_id, at, channel, result, by, direction, lookup, kind, loans, task_id, case_id, decision)"
            " select tenant, borrower_id, contact_id, at, channel, result, by, direction, lookup, kind,"
            " case when loans = '' then '{}' else string_to_array(loans, ',') end, task_id, case_id, decision"
            " from unnest(cast(:tenants as text[]), cast(:borrowers as text[]), cast(:ids as text[]), cast(:ats as timestamptz[]),"
            " cast(:channels as text[]), cast(:results as text[]), cast(:bys as text[]), cast(:directions as text[]),"
            " cast(:lookups as text[]), cast(:kinds as text[]), cast(:loans as text[]), cast(:tasks as text[]), cast(:cases as text[]),"
            " cast(:decisions as bytea[])) as n(tenant, borrower_id, contact_id, at, channel, result, by, direction, lookup, kind, loans,"
            f" task_id, case_id, decision){AGAIN}"
        ),
        {
            **arrays((c.tenant, c.borrower_id) for c in ordered), "ids": [c.contact_id for c in ordered],
            "ats": [c.at for c in ordered], "channels": [c.channel for c in ordered], "results": [c.result for c in ordered],
            "bys": [c.by for c in ordered], "directions": [c.direction for c in ordered], "lookups": [c.lookup for c in ordered],
            "kinds": [c.kind for c in ordered], "loans": [",".join(c.loans) for c in ordered],
            "tasks": [c.task_id for c in ordered], "cases": [c.case_id for c in ordered],
            "decisions": [_encode(c.decision) if c.decision else None for c in ordered],
        },
    )  # fmt: skip


async def keep_numbers(conn: AsyncConnection, contacts: Iterable[Contact]) -> None:
    """Store the addresses that new contacts may have gone to."""
    ordered = sorted((c.tenant, c.borrower_id, c.contact_id, lookup) for c in contacts for lookup in c.numbers)
    if ordered:
        tenants, borrowers, ids, lookups = zip(*ordered, strict=True)
        await conn.execute(_NUMBERS, {"tenants": tenants, "borrowers": borrowers, "ids": ids, "lookups": lookups})


async def note_results(conn: AsyncConnection, results: Sequence[tuple[Who, str, str]]) -> None:
    """Record results of our contacts (borrower, contact id, result); `delivered` stays, and `failed` unless it is delivered later."""
    if not results:
        return
    await conn.execute(
        text(
            "update notifier.contacts c set result = n.result"
            " from unnest(cast(:tenants as text[]), cast(:borrowers as text[]), cast(:ids as text[]), cast(:results as text[]))"
            " as n(tenant, borrower_id, contact_id, result)"
            " where c.tenant = n.tenant and c.borrower_id = n.borrower_id and c.contact_id = n.contact_id"
            " and c.result is distinct from 'delivered' and (c.result is distinct from 'failed' or n.result = 'delivered')"
        ),
        {**arrays(who for who, _, _ in results), "ids": [i for _, i, _ in results], "results": [r for _, _, r in results]},
    )


async def lookup_of(conn: AsyncConnection, who: Who, contact_id: str) -> str | None:
    """Return the keyed hash of the address a contact went to; None if there is no such contact, or its address is not known."""
    rows = await conn.execute(
        text("select lookup from notifier.contacts where tenant = :tenant and borrower_id = :borrower and contact_id = :id"),
        {"tenant": who[0], "borrower": who[1], "id": contact_id},
    )
    return rows.scalar_one_or_none()


async def count_begun_since(conn: AsyncConnection, payments: Sequence[tuple[tuple[str, str, str], datetime]]) -> int:
    """Count our contacts naming one of these loans that began after its payment was known elsewhere: (tenant, borrower, loan)."""
    if not payments:
        return 0
    found = await conn.execute(
        text(
            "select count(distinct (c.tenant, c.borrower_id, c.contact_id))"
            " from unnest(cast(:tenants as text[]), cast(:borrowers as text[]), cast(:loans as text[]), cast(:ats as timestamptz[]))"
            " as p(tenant, borrower_id, loan_id, paid_at)"
            " join notifier.contacts c on c.tenant = p.tenant and c.borrower_id = p.borrower_id and c.at > p.paid_at"
            " and p.loan_id = any(c.loans) and c.kind = 'dunning' and c.task_id is not null and c.result not in ('refused', 'not_sent')"
        ),
        {
            **arrays(key[:2] for key, _ in payments), "loans": [key[2] for key, _ in payments], "ats": [at for _, at in payments],
        },
    )  # fmt: skip
    return int(found.scalar_one())


def row_of(tenant: str, borrower_id: str, counter: CapKey) -> tuple[str, str, str]:
    """Return the row to lock for a counter.

    A number has one of 65,536 buckets: its own hash would remain here after its owner is erased, and two numbers sharing a lock do no harm.
    """
    if counter.scope is CapScope.NUMBER:
        return tenant, counter.scope.value, f"{zlib.crc32(counter.key.encode()) & 0xFFFF:04x}"
    return tenant, counter.scope.value, f"{borrower_id}/{counter.key}"


async def lock_caps(conn: AsyncConnection, keys: Iterable[tuple[str, str, str]]) -> None:
    """Lock the rows of these counters (tenant, scope, key) in order, creating them first if missing."""
    ordered = sorted(set(keys))
    if not ordered:
        return
    values = {"tenants": [k[0] for k in ordered], "scopes": [k[1] for k in ordered], "keys": [k[2] for k in ordered]}
    wanted = "unnest(cast(:tenants as text[]), cast(:scopes as text[]), cast(:keys as text[])) as w(tenant, scope, key)"
    await conn.execute(
        text(
            f"insert into notifier.caps (tenant, scope, key) select * from {wanted} order by 1, 2, 3"  # no value in it
            " on conflict (tenant, scope, key) do nothing"
        ),
        values,
    )
    await conn.execute(
        text(
            f"select 1 from {wanted} join notifier.caps c using (tenant, scope, key)"  # no value in it
            " order by c.tenant, c.scope, c.key for update of c"
        ),
        values,
    )


async def of_borrowers(conn: AsyncConnection, who: Iterable[Who], *, since: datetime, now: datetime) -> list[Contact]:
    """Return the contacts of these borrowers since then, including reserved ones."""
    rows = await conn.execute(
        text(
            f"select {_COLUMNS} from unnest({column('tenants')}, {column('borrowers')})"
            f" as w(tenant, borrower_id) join notifier.contacts c using (tenant, borrower_id) where c.at >= :since and {_STANDS}"
        ),
        {**joined_arrays(who), "since": since, "now": now},
    )
    return [_contact(row) for row in rows]


async def of_lookups(conn: AsyncConnection, lookups: Iterable[tuple[str, str]], *, since: datetime, now: datetime) -> list[Contact]:
    """Return the contacts with these (tenant, lookup) addresses since then, including reserved ones, whoever they belong to.

    Contacts of erased owners belong to nobody.
    """
    pairs = sorted(set(lookups))
    if not pairs:
        return []
    rows = await conn.execute(
        text(
            f"select {_COLUMNS} from unnest(cast(:tenants as text[]), cast(:lookups as text[])) as w(tenant, lookup)"  # no value in it
            f" join notifier.contacts c using (tenant, lookup) where c.at >= :since and {_STANDS}"
            f" union all select {_COLUMNS.replace('c.lookup', 'm.lookup')}"
            " from unnest(cast(:tenants as text[]), cast(:lookups as text[])) as w(tenant, lookup)"
            " join notifier.contact_numbers m using (tenant, lookup) join notifier.contacts c"
            " on (c.tenant, c.borrower_id, c.contact_id) = (m.tenant, m.borrower_id, m.contact_id)"
            f" where c.at >= :since and {_STANDS}"
            " union all select n.tenant, '', n.at, n.channel, n.result, '', n.direction, n.lookup, n.kind, '{}', null, null"
            " from unnest(cast(:tenants as text[]), cast(:lookups as text[])) as w(tenant, lookup)"
            " join notifier.nameless_contacts n using (tenant, lookup) where n.at >= :since"
        ),
        {"tenants": [p[0] for p in pairs], "lookups": [p[1] for p in pairs], "since": since, "now": now},
    )
    return [_contact(row) for row in rows]


def _contact(row: Row[tuple[object, ...]]) -> Contact:
    return Contact(
        row.tenant, row.borrower_id, "", row.at, row.channel, row.result, row.by, row.direction, row.lookup, row.kind, tuple(row.loans),
        row.task_id, lapses_at=row.reserved_until if row.result == RESERVED else None,
    )  # fmt: skip
