"""Loans refolded from their logs and compared with what is stored: the differences, and their repair.

The last published fact of a loan is not stored but derived from the stored row. The columns show what the rules that wrote them gave,
and a stored book gives the whole fact:

- a book of this release must equal the refolded one in every field;
- for a book of another release, the fact that it gives under today's rules is computed. If that and the columns match the refold, nothing
  is published. If the book cannot be read, or is older than `facts.SAID_SINCE`, what was published is unknown, and the fact is published
  again: once too often rather than once too little.

A loan whose timer is due is compared as of the moment just before: a timer not yet handled is not a difference.
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


class Comparison(msgspec.Struct, frozen=True, gc=False):
    """What is stored of a loan beside the loan refolded from its log as of `moment`; `fields` are those that differ."""

    stored: Stored
    logged: Sequence[LogRow]
    loan: Loan
    moment: datetime
    fields: tuple[str, ...]

    @property
    def in_doubt(self) -> bool:
        """Return whether a person must look at it."""
        return self.loan.row.parked > 0 or self.loan.row.fold_error is not None


async def compare(conn: AsyncConnection, ledger: Ledger, keys: Sequence[Key], now: datetime) -> list[Comparison]:
    """Refold these loans from their logs and compare them with what is stored."""
    logged = await log.of_loans(conn, keys)
    found = []
    for one in await rebuilding.stored(conn, keys):
        events, moment = logged[one.row.key], _compared_at(one.row, now)
        loan = _bare(one, len(events))
        await _stamp(conn, ledger, one, loan, events)
        if events:
            refold_from(events, loan, moment)
        found.append(Comparison(one, events, loan, moment, tuple(_differences(one, loan, moment=moment, now=now))))
    return found


async def repair(conn: AsyncConnection, ledger: Ledger, different: Sequence[Comparison], now: datetime) -> None:
    """Store these locked loans as refolded from their events, and publish their facts again."""
    if different:
        await ledger.announce(conn, [_repaired(one, now) for one in different], now, by_time=False)


def _bare(stored: Stored, accepted: int) -> Loan:
    """Return a loan with only what is known from outside its row."""
    tenant, loan_id = stored.row.key
    return Loan(LoanRow(tenant, loan_id, records=accepted + stored.records, accepted=accepted, parked=stored.undecided), None)


async def _stamp(conn: AsyncConnection, ledger: Ledger, stored: Stored, loan: Loan, events: list[LogRow]) -> None:
    """Give a loan its product's settings; if its disbursement or that version cannot be read, keep the stored ones."""
    try:
        await ledger.stamp(conn, loan, [(row, folding.accepted_of(row)) for row in events if row.type in MAKING])
    except (msgspec.MsgspecError, NoResultFound):
        loan.row.product_version, loan.row.settings = stored.row.product_version, stored.row.settings


def _compared_at(row: LoanRow, now: datetime) -> datetime:
    """Return the last moment for which the row must be correct: now, or just before its timer is due."""
    return now if row.next_at is None or row.next_at > now else row.next_at - timedelta.resolution


def _differences(stored: Stored, made: Loan, *, moment: datetime, now: datetime) -> list[str]:
    """Return the columns with wrong values; those that only history determines are checked for plausibility."""
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
        found += _shown_differences(stored, fresh, now)
        found += _unpublished(row, made.standing.phase)
    if _book_differs(row, made, moment):
        found.append("book")
    return found


def _shown_differences(stored: Stored, fresh: LoanRow, now: datetime) -> list[str]:
    """Return the query columns of a known loan that differ; a due timer is about to be set and does not count."""
    row = stored.row
    found = [name for name in _SHOWN if getattr(row, name) != getattr(fresh, name)]
    if (row.next_at is None or row.next_at > now) and row.next_at != fresh.next_at:
        found.append("next_at")
    return found if stored.linked else [*found, "borrower_loans"]


def _unpublished(row: LoanRow, phase: Phase) -> list[str]:
    """Return the columns showing that the last fact was of another phase, or that none was published."""
    if row.published:
        return [] if row.phase == phase.value else ["phase"]
    return ["published"] if phase in (Phase.DUE_SOON, Phase.OVERDUE) else []


def _book_differs(row: LoanRow, made: Loan, moment: datetime) -> bool:
    """Return whether the stored book differs or, if another release made it, whether its published fact does."""
    if row.book is None:
        return made.row.accepted > 0
    book = _readable(row)
    if made.book is None:
        return book is None or book.known
    if row.fold == FOLD:
        return book is None or msgspec.structs.replace(made.book, as_of=book.as_of) != book
    return row.published and (row.fold < facts.SAID_SINCE or book is None or _fact_differs(book, made, moment))


def _fact_differs(book: Book, made: Loan, moment: datetime) -> bool:
    if made.book is None or made.standing is None or not book.known:
        return book.known or made.standing is not None
    try:
        before = facts.fact_of(book, facts.standing(book, moment), loan_id=made.row.loan_id, epoch=0, version=0)
    except Exception:  # noqa: BLE001  # whatever these rules raise on a book of other rules: the published fact is unknown
        return True
    return before != facts.fact_of(made.book, made.standing, loan_id=made.row.loan_id, epoch=0, version=0)


def _repaired(one: Comparison, now: datetime) -> Loan:
    """Return the loan refolded as of now, keeping what only its history determines."""
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
    """Return the stored book in case the events cannot be folded; one of another release only if it shows the stored sums."""
    book = _readable(row)
    if book is None or row.fold == FOLD:
        return book
    try:
        shown = facts.standing(book, moment).shown
    except Exception:  # noqa: BLE001  # as above
        return None
    return book if (shown.overdue.total, shown.outstanding.total) == (row.overdue_total, row.outstanding_total) else None
