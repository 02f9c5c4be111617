"""Loans made anew out of their logs, beside what is stored: what differs, and the row that is mended.

What was said of a loan last is not stored; it is told from the stored row. The columns are what the rules that wrote them showed, and a
stored book gives the whole fact:

- a book of this release must be the one that a refold gives, to the last field;
- a book of another release is asked for the fact that it gives under today's rules. Where that and the columns are what the refold gives,
  nothing is said. Where it cannot be read, or is older than `facts.SAID_SINCE`, nobody can know what was said of it, and the fact is said
  anew: once too often rather than once too little.

A loan whose timer is due is compared as it stood just before: that nobody has looked at it since is no difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from sqlalchemy.exc import NoResultFound
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest import facts, folding
from services.ingest.domain.book import Book
from services.ingest.domain.fold import FOLD
from services.ingest.facts import Phase
from services.ingest.folding import Loan
from services.ingest.ledger import Ledger, refold_from
from services.ingest.stamping import MAKING
from services.ingest.store import events as log
from services.ingest.store import rebuilding
from services.ingest.store.events import LogRow
from services.ingest.store.loans import Key, LoanRow
from services.ingest.store.rebuilding import Stored

_COUNTS = ("records", "accepted", "parked")
_STAMPED = ("product_version", "settings")
_SHOWN = (
    "borrower_id", "product", *_STAMPED, "currency", "timezone",
    "status", "anchor_on", "bucket", "overdue_total", "outstanding_total",
)  # fmt: skip
_PHASES = frozenset(phase.value for phase in Phase)


class Remade(msgspec.Struct, frozen=True, gc=False):
    """A loan made anew out of its log as it must have stood at this moment, beside what is stored; `fields` are those that differ."""

    stored: Stored
    logged: Sequence[LogRow]
    loan: Loan
    moment: datetime
    fields: tuple[str, ...]

    @property
    def in_doubt(self) -> bool:
        """Say whether a person must look at it."""
        return self.loan.row.parked > 0 or self.loan.row.fold_error is not None


async def remade(conn: AsyncConnection, ledger: Ledger, keys: Sequence[Key], now: datetime) -> list[Remade]:
    """Make these loans anew out of their logs, and compare."""
    logged = await log.of_loans(conn, keys)
    found = []
    for one in await rebuilding.stored(conn, keys):
        events, moment = logged[one.row.key], _compared_at(one.row, now)
        loan = _bare(one, len(events))
        await _stamp(conn, ledger, one, loan, events)
        if events:
            refold_from(events, loan, moment)
        found.append(Remade(one, events, loan, moment, tuple(_differences(one, loan, moment=moment, now=now))))
    return found


async def mend(conn: AsyncConnection, ledger: Ledger, different: Sequence[Remade], now: datetime) -> None:
    """Store these locked loans as their events make them, and say their facts anew."""
    if different:
        await ledger.announce(conn, [_mended(one, now) for one in different], now, by_time=False)


def _bare(stored: Stored, accepted: int) -> Loan:
    """Return a loan of which only is known what stands outside its row."""
    tenant, loan_id = stored.row.key
    return Loan(LoanRow(tenant, loan_id, records=accepted + stored.records, accepted=accepted, parked=stored.undecided), None)


async def _stamp(conn: AsyncConnection, ledger: Ledger, stored: Stored, loan: Loan, events: list[LogRow]) -> None:
    """Give a loan its product's settings; where its disbursement or that version cannot be read, those that it was given once."""
    try:
        await ledger.stamp(conn, loan, [(row, folding.accepted_of(row)) for row in events if row.type in MAKING])
    except (msgspec.MsgspecError, NoResultFound):
        loan.row.product_version, loan.row.settings = stored.row.product_version, stored.row.settings


def _compared_at(row: LoanRow, now: datetime) -> datetime:
    """Return the last moment of which the row must be true: now, or the one before its timer is due."""
    return now if row.next_at is None or row.next_at > now else row.next_at - timedelta.resolution


def _differences(stored: Stored, made: Loan, *, moment: datetime, now: datetime) -> list[str]:
    """Return the columns that are not what they should be; of those that only history tells, whether they can be true."""
    row, fresh = stored.row, made.row
    if not stored.there:
        return ["row"] if fresh.accepted else []
    found = [name for name in _COUNTS if getattr(row, name) != getattr(fresh, name)]
    if row.doubt_since is None and (fresh.parked or (row.fold_error and fresh.fold_error)):
        found.append("doubt_since")
    if (row.fold_error is None) != (fresh.fold_error is None):
        found.append("fold_error")
    if fresh.fold_error is not None:
        return found
    if row.known != fresh.known:
        found.append("known")
    if made.standing is not None:
        found += _shown_otherwise(stored, fresh, now)
        found += _unsaid(row, made.standing.phase)
    if _book_differs(row, made, moment):
        found.append("book")
    return found


def _shown_otherwise(stored: Stored, fresh: LoanRow, now: datetime) -> list[str]:
    """Return what is queried of a known loan and differs; a timer that is due is about to be set."""
    row = stored.row
    found = [name for name in _SHOWN if getattr(row, name) != getattr(fresh, name)]
    if (row.next_at is None or row.next_at > now) and row.next_at != fresh.next_at:
        found.append("next_at")
    return found if stored.linked else [*found, "borrower_loans"]


def _unsaid(row: LoanRow, phase: Phase) -> list[str]:
    """Return what shows that the last fact is not that of the loan's phase, or was never said."""
    if row.published:
        return [] if row.phase == phase.value else ["phase"]
    return ["published"] if phase in (Phase.DUE_SOON, Phase.OVERDUE) else []


def _book_differs(row: LoanRow, made: Loan, moment: datetime) -> bool:
    """Say whether the stored book is another, or, if another release made it, whether another fact was said of it."""
    if row.book is None:
        return made.row.accepted > 0
    book = _readable(row)
    if made.book is None:
        return book is None or book.known
    if row.fold == FOLD:
        return book is None or msgspec.structs.replace(made.book, as_of=book.as_of) != book
    return row.published and (row.fold < facts.SAID_SINCE or book is None or _says_otherwise(book, made, moment))


def _says_otherwise(book: Book, made: Loan, moment: datetime) -> bool:
    if made.book is None or made.standing is None or not book.known:
        return book.known or made.standing is not None
    try:
        before = facts.fact_of(book, facts.standing(book, moment), loan_id=made.row.loan_id, epoch=0, version=0)
    except Exception:  # noqa: BLE001  # whatever the rules raise on a book of other rules: what was said of it is not known
        return True
    return before != facts.fact_of(made.book, made.standing, loan_id=made.row.loan_id, epoch=0, version=0)


def _mended(one: Remade, now: datetime) -> Loan:
    """Return the loan as its events make it now, with what only its history tells."""
    row, fresh = one.stored.row, one.loan.row
    book = _trusted(row, one.moment)
    for name in (*_COUNTS, *_STAMPED):
        setattr(row, name, getattr(fresh, name))
    row.phase = row.phase if row.phase in _PHASES else None
    loan = Loan(row, book, touched=True, why="rebuild")
    refold_from(one.logged, loan, now)
    if row.parked and row.doubt_since is None:
        row.doubt_since = one.stored.doubted_at
    return loan


def _readable(row: LoanRow) -> Book | None:
    try:
        return folding.stored_book(row)
    except (msgspec.MsgspecError, ValueError):
        return None


def _trusted(row: LoanRow, moment: datetime) -> Book | None:
    """Return the stored book, for the case that its events cannot be folded; one of another release only where it shows what was shown."""
    book = _readable(row)
    if book is None or row.fold == FOLD:
        return book
    try:
        shown = facts.standing(book, moment).shown
    except Exception:  # noqa: BLE001  # as above
        return None
    return book if (shown.overdue.total, shown.outstanding.total) == (row.overdue_total, row.outstanding_total) else None
