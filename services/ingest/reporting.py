"""What is overdue, loan by loan: today or on any day, as known now or at an earlier time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common import logs
from libs.common.turns import Turns
from services.ingest import folding, stamping
from services.ingest.domain.book import Book
from services.ingest.domain.events import LoanEvent
from services.ingest.domain.fold import fold
from services.ingest.domain.product import ProductLine
from services.ingest.domain.view import view
from services.ingest.reading import local_day, to_domain, zone_among
from services.ingest.store import events as log
from services.ingest.store import report
from services.ingest.store.events import LogRow
from services.ingest.store.loans import LoanRow
from services.ingest.store.products import ProductBook

MOST_EVENTS = 4000
"""Events in memory at a time; one loan may have more."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The report requested: without `as_of`, each loan's own today; without `known_at`, what is known now; other None: no filter."""

    tenant: str
    as_of: date | None = None
    known_at: datetime | None = None
    bucket: str | None = None
    product: str | None = None

    def day_in(self, zone: str, now: datetime) -> date:
        """Return the requested day in a zone."""
        return self.as_of or local_day(now, zone)

    def file_name(self, what: str, day: date) -> str:
        """Return the name of the file with the requested content."""
        known = f"-known-{self.known_at.astimezone(UTC):%Y%m%dT%H%M%SZ}" if self.known_at is not None else ""
        return f"{what}-{day.isoformat()}{known}"

    def known(self, logged: Sequence[LogRow]) -> Sequence[LogRow]:
        """Return the events that were known at the requested time."""
        known_at = self.known_at
        return logged if known_at is None else [event for event in logged if event.received_at <= known_at]


class Head(msgspec.Struct, frozen=True):
    """What a report covers: `at` is the time of its snapshot; without `as_of`, each line has its loan's day at that time."""

    as_of: date | None
    known_at: datetime | None
    at: datetime

    @staticmethod
    def of(asked: Asked, now: datetime) -> Head:
        """Return the head of the requested report."""
        return Head(asked.as_of, asked.known_at, now)


class InBucket(msgspec.Struct, frozen=True, gc=False):
    """The part of a loan's overdue amount that is in this bucket."""

    bucket: str
    amount: int


class Line(msgspec.Struct, frozen=True, gc=False):
    """A loan with something overdue, as in `GET /v1/loans/{id}`; flat, so that every format has the same columns."""

    loan_id: str
    borrower_id: str
    product: str
    currency: str
    timezone: str
    as_of: date
    status: str
    anchor_n: int
    anchor_due_on: date
    delinquent_from: date
    past_due_days: int
    paused_days: int
    delinquent_days: int
    bucket: str
    overdue_principal: int
    overdue_interest: int
    overdue_fee: int
    overdue_penalty: int
    overdue: int
    outstanding: int
    aged: tuple[InBucket, ...]
    in_doubt: bool


SUMMED = ("overdue_principal", "overdue_interest", "overdue_fee", "overdue_penalty", "overdue", "outstanding")


class Total(msgspec.Struct, gc=False):
    """The totals of one bucket in one currency."""

    bucket: str
    currency: str
    loans: int = 0
    overdue_principal: int = 0
    overdue_interest: int = 0
    overdue_fee: int = 0
    overdue_penalty: int = 0
    overdue: int = 0
    outstanding: int = 0


@dataclass(slots=True)
class Totals:
    """The running totals, and how many loans the ledger could not digest."""

    undigested: int = 0
    _sums: dict[tuple[str, str], Total] = field(default_factory=dict)

    def add(self, page: Page) -> None:
        """Add a page of lines."""
        self.undigested += page.undigested
        for line in page.lines:
            total = self._sums.setdefault((line.bucket, line.currency), Total(line.bucket, line.currency))
            total.loans += 1
            for name in SUMMED:
                setattr(total, name, getattr(total, name) + getattr(line, name))

    def rows(self) -> list[Total]:
        """Return the totals by bucket and currency."""
        return [self._sums[key] for key in sorted(self._sums)]


@dataclass(frozen=True, slots=True)
class Page:
    """Lines in the order of loan ids; `undigested` loans have no line, whatever they owe."""

    lines: Sequence[Line]
    undigested: int


async def pages(conn: AsyncConnection, asked: Asked, now: datetime, products: ProductBook) -> AsyncIterator[Page]:
    """Yield the lines of a report; the caller's transaction is its snapshot."""
    every, turns = asked.as_of is not None or asked.known_at is not None, Turns()
    async for rows in report.pages(conn, asked.tenant, now, every=every):
        making = _Making(asked, now)
        made = await turns.each(rows, making.from_book)
        again = ((row, row.accepted) for row, done in zip(rows, made, strict=True) if not done)
        for some in log.in_groups(again, MOST_EVENTS):
            logged = await log.of_loans(conn, [row.key for row in some])
            for row in some:
                with suppress(msgspec.MsgspecError):  # an unreadable event: the loan is counted below
                    row.settings = await settings_then(conn, products, row, logged[row.key], asked)
            await turns.each([(row, logged[row.key]) for row in some], making.from_events)
        yield Page([making.lines[row.loan_id] for row in rows if row.loan_id in making.lines], making.undigested)


async def settings_then(conn: AsyncConnection, products: ProductBook, row: LoanRow, logged: Sequence[LogRow], asked: Asked) -> bytes | None:
    """Return the settings of a loan's product as known at that time, when another disbursement may have counted."""
    return row.settings if asked.known_at is None else await stamping.settings_of(conn, products, row.tenant, asked.known(logged))


def fold_inputs(row: LoanRow, logged: Sequence[LogRow], asked: Asked, now: datetime) -> tuple[list[LoanEvent], ProductLine, date]:
    """Return the inputs of the fold: the known events of a loan, its product line, and the day."""
    accepted = [folding.accepted_of(event) for event in asked.known(logged)]
    zone, line = zone_among(accepted), folding.line_of(row)
    return [to_domain(one, zone, line) for one in accepted], line, asked.day_in(zone, now)


def tells_of(book: Book, day: date) -> bool:
    """Return whether a book shows that day as a fold to it would: no event begins to count between that day and the book's own."""
    return (book.last is None or book.last.day <= day) and (book.next_event_on is None or book.next_event_on > day)


def line_of(row: LoanRow, book: Book, day: date) -> Line | None:
    """Return the line of a loan on a day covered by its book; None if nothing is overdue."""
    if not book.known:
        return None
    shown = view(book, day)
    anchor, since, overdue = shown.anchor, shown.delinquent_from, shown.overdue
    if anchor is None or since is None or not overdue.total:
        return None
    return Line(
        row.loan_id,
        book.borrower_id,
        book.product,
        book.currency,
        book.timezone,
        day,
        shown.status.value,
        anchor.n,
        anchor.due_on,
        since,
        shown.past_due_days,
        shown.paused_days,
        shown.delinquent_days,
        shown.bucket,
        *overdue.amounts,
        overdue=overdue.total,
        outstanding=shown.outstanding.total,
        aged=tuple(InBucket(one.bucket, one.amount) for one in shown.aged),
        in_doubt=row.doubt_since is not None and (row.parked > 0 or row.fold_error is not None),
    )


@dataclass(slots=True)
class _Making:
    """A page while its lines are being made."""

    asked: Asked
    now: datetime
    lines: dict[str, Line] = field(default_factory=dict)
    undigested: int = 0

    def from_book(self, row: LoanRow) -> bool:
        """Make the line of a loan from its stored book; False if the book does not cover the day."""
        book = self._stored(row)
        if book is not None:
            self._take(row, partial(line_of, row, book, self.asked.day_in(book.timezone, self.now)))
        return book is not None

    def from_events(self, loan: tuple[LoanRow, Sequence[LogRow]]) -> None:
        """Make the line of a loan from its events."""
        row, logged = loan
        self._take(row, partial(_folded, row, logged, asked=self.asked, now=self.now))

    def _stored(self, row: LoanRow) -> Book | None:
        if self.asked.known_at is not None or row.fold_error is not None:
            return None
        book = folding.opened(row).book
        return book if book is not None and tells_of(book, self.asked.day_in(book.timezone, self.now)) else None

    def _take(self, row: LoanRow, make: Callable[[], Line | None]) -> None:
        try:
            line = make()
        except Exception as error:  # noqa: BLE001  # a failing rule concerns one loan, never the report
            reason = f"{type(error).__name__}: {error}"[:300]
            logs.get("report").warning("loan_undigested", tenant=row.tenant, loan_id=row.loan_id, reason=reason)
            self.undigested += 1
            return
        if line is not None and self.asked.bucket in (None, line.bucket) and self.asked.product in (None, line.product):
            self.lines[row.loan_id] = line


def _folded(row: LoanRow, logged: Sequence[LogRow], *, asked: Asked, now: datetime) -> Line | None:
    events, line, day = fold_inputs(row, logged, asked, now)
    return line_of(row, fold(events, line, day), day)
