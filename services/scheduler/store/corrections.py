"""What facts correct, and the contacts made before the corrections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.corrections import parsed
from services.scheduler.domain.case import Case
from services.scheduler.domain.corrected import MADE, ContactMade, Correction, Days, DebtSeen
from services.scheduler.store.arrays import transposed, unnest

_ROW = {
    "tenant": "text", "borrower_id": "text", "loan_id": "text", "epoch": "int", "version": "bigint", "timezone": "text",
    "said_at": "timestamptz", "caused_by": "text", "days": "text",
}  # fmt: skip
_KEEP = text(
    f"insert into scheduler.corrections ({', '.join(_ROW)}) select {', '.join(_ROW)} from {unnest(_ROW, 'v')}"
    " order by tenant, borrower_id, loan_id, epoch, version on conflict do nothing returning tenant, borrower_id, loan_id, epoch, version"
)
_BORROWERS = {"tenant": "text", "borrower_id": "text"}
_OF_BORROWERS = text(
    "select c.tenant, c.borrower_id, c.loan_id, c.epoch, c.version, c.timezone, c.said_at, c.caused_by, c.days"
    f" from {unnest(_BORROWERS, 'k')} join scheduler.corrections c on (c.tenant, c.borrower_id) = (k.tenant, k.borrower_id)"
)
_OF_CASES = {"tenant": "text", "borrower_id": "text", "case_id": "text", "spell": "int"}
_MADE = text(
    "select s.tenant, s.case_id, s.task_id, s.step, s.about, s.made_at, s.debts, s.corrected_at is not null as corrected, s.groundless"
    f" from {unnest(_OF_CASES, 'k')} join scheduler.case_steps s"
    " on (s.tenant, s.borrower_id, s.case_id, s.spell) = (k.tenant, k.borrower_id, k.case_id, k.spell)"
    f" where s.made_at is not null and s.state in ({', '.join(repr(state.value) for state in sorted(MADE))})"
    " order by s.tenant, s.case_id, s.made_at, s.task_id"
)
_FLAG_ROW = {
    "tenant": "text", "borrower_id": "text", "task_id": "text", "corrected_at": "timestamptz", "corrected_from": "date",
    "groundless": "boolean",
}  # fmt: skip
_FLAG = text(
    "update scheduler.case_steps s set corrected_at = coalesce(s.corrected_at, v.corrected_at),"
    " corrected_from = coalesce(s.corrected_from, v.corrected_from), groundless = s.groundless or v.groundless"
    f" from {unnest(_FLAG_ROW, 'v')} where (s.tenant, s.borrower_id, s.task_id) = (v.tenant, v.borrower_id, v.task_id)"
)
_debts = msgspec.json.Decoder(list[tuple[str, int, int]]).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class CorrectionRow:
    """What a fact corrects, as stored; `days` as in the message."""

    tenant: str
    borrower_id: str
    loan_id: str
    epoch: int
    version: int
    timezone: str
    said_at: datetime
    caused_by: str | None
    days: str

    @property
    def key(self) -> tuple[str, str, str, int, int]:
        """Return the key of this correction."""
        return self.tenant, self.borrower_id, self.loan_id, self.epoch, self.version


@dataclass(frozen=True, slots=True)
class FlagRow:
    """A contact made on something that has been corrected since."""

    tenant: str
    borrower_id: str
    task_id: str
    corrected_at: datetime
    corrected_from: date
    groundless: bool


def encoded(debts: Sequence[DebtSeen]) -> bytes:
    """Return the debts of a contact as stored in its row."""
    return _encode([(debt.loan_id, debt.epoch, debt.version) for debt in debts])


async def keep(conn: AsyncConnection, rows: Sequence[CorrectionRow]) -> set[tuple[str, str, str, int, int]]:
    """Store corrections; return the keys of the new ones."""
    if not rows:
        return set()
    found = await conn.execute(_KEEP, transposed(_ROW, rows))
    return {(row.tenant, row.borrower_id, row.loan_id, row.epoch, row.version) for row in found}


async def of_borrowers(conn: AsyncConnection, borrowers: Sequence[tuple[str, str]]) -> dict[tuple[str, str], list[Correction]]:
    """Return all corrections to the debts of these (tenant, borrower)."""
    tenants, ids = zip(*borrowers, strict=True)
    found: dict[tuple[str, str], list[Correction]] = {}
    for row in await conn.execute(_OF_BORROWERS, {"tenant": list(tenants), "borrower_id": list(ids)}):
        days = tuple(Days(one.from_on, one.until, one.owed) for one in parsed(row.days))
        one = Correction(row.loan_id, row.epoch, row.version, row.timezone, row.said_at, row.caused_by, days)
        found.setdefault((row.tenant, row.borrower_id), []).append(one)
    return found


async def made(conn: AsyncConnection, cases: Sequence[Case]) -> dict[tuple[str, str], list[ContactMade]]:
    """Return the contacts that were made in the spells of these cases, by (tenant, case)."""
    found: dict[tuple[str, str], list[ContactMade]] = {}
    for row in await conn.execute(_MADE, transposed(_OF_CASES, cases)):
        debts = tuple(DebtSeen(*debt) for debt in _debts(row.debts))
        contact = ContactMade(row.task_id, row.step, row.about, row.made_at, debts, row.corrected, row.groundless)
        found.setdefault((row.tenant, row.case_id), []).append(contact)
    return found


async def flag(conn: AsyncConnection, rows: Sequence[FlagRow]) -> None:
    """Flag contacts whose cases are locked; existing flags are kept."""
    if rows:
        by_key = {(row.tenant, row.borrower_id, row.task_id): row for row in rows}
        await conn.execute(_FLAG, transposed(_FLAG_ROW, [by_key[key] for key in sorted(by_key)]))
