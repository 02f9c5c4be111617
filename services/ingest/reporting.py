"""What is overdue, loan by loan: today or on any day, as known now or as known then."""

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
    """Which report: without a day each loan's own today, without a moment what is known now; None leaves out nothing."""

    tenant: str
    as_of: date | None = None
    known_at: datetime | None = None
    bucket: str | None = None
    product: str | None = None

    def day_in(self, zone: str, now: datetime) -> date:
        """Return the day that is asked about there."""
        return self.as_of or local_day(now, zone)

    def file_name(self, what: str, day: date) -> str:
        """Return the name of the file that holds what is asked for."""
        known = f"-known-{self.known_at.astimezone(UTC):%Y%m%dT%H%M%SZ}" if self.known_at is not None else ""
        return f"{what}-{day.isoformat()}{known}"

    def known(self, logged: Sequence[LogRow]) -> Sequence[LogRow]:
        """Return the events that were known by the moment asked about."""
        known_at = self.known_at
        return logged if known_at is None else [event for event in logged if event.received_at <= known_at]


class Head(msgspec.Struct, frozen=True):
    """What a report is about: `at` is the moment of its snapshot; without `as_of` each line has its loan's day at that moment."""

    as_of: date | None
    known_at: datetime | None
    at: datetime

    @staticmethod
    def of(asked: Asked, now: datetime) -> Head:
        """Return the head of what is asked for."""
        return Head(asked.as_of, asked.known_at, now)


class InBucket(msgspec.Struct, frozen=True, gc=False):
    """The part of a loan's overdue sum that is so old."""

    bucket: str
    amount: int


class Line(msgspec.Struct, frozen=True, gc=False):
    """A loan with something overdue, as `GET /v1/loans/{id}` has it; flat, so that every format has the same columns."""

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
    """The sums of one bucket in one currency."""

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
    """The sums of what has passed, and how many loans the ledger could not digest."""

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
        """Return the sums by bucket and currency."""
        return [self._sums[key] for key in sorted(self._sums)]


@dataclass(frozen=True, slots=True)
class Page:
    """Lines in the order of the loans' ids; `undigested` loans have none, whatever they owe."""

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
                with suppress(msgspec.MsgspecError):  # an event that cannot be read: that loan is counted below
                    row.settings = await judged_by(conn, products, row, logged[row.key], asked)
            await turns.each([(row, logged[row.key]) for row in some], making.from_events)
        yield Page([making.lines[row.loan_id] for row in rows if row.loan_id in making.lines], making.undigested)


async def judged_by(conn: AsyncConnection, products: ProductBook, row: LoanRow, logged: Sequence[LogRow], asked: Asked) -> bytes | None:
    """Return the settings of a loan's product as they were known; another disbursement may have counted then."""
    return row.settings if asked.known_at is None else await stamping.settings_of(conn, products, row.tenant, asked.known(logged))


def told(row: LoanRow, logged: Sequence[LogRow], asked: Asked, now: datetime) -> tuple[list[LoanEvent], ProductLine, date]:
    """Return what the fold asks for: the events of a loan that were known, its product line, and the day."""
    accepted = [folding.accepted_of(event) for event in asked.known(logged)]
    zone, line = zone_among(accepted), folding.line_of(row)
    return [to_domain(one, zone, line) for one in accepted], line, asked.day_in(zone, now)


def tells_of(book: Book, day: date) -> bool:
    """Say whether a book shows that day as a fold to it would: no event counts between that day and the book's own."""
    return (book.last is None or book.last.day <= day) and (book.next_event_on is None or book.next_event_on > day)


def line_of(row: LoanRow, book: Book, day: date) -> Line | None:
    """Return the line of a loan on a day that its book tells of; None where nothing is overdue."""
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
    """A page while its lines are made."""

    asked: Asked
    now: datetime
    lines: dict[str, Line] = field(default_factory=dict)
    undigested: int = 0

    def from_book(self, row: LoanRow) -> bool:
        """Make the line of a loan whose stored book tells of the day; False where it does not."""
        book = self._stored(row)
        if book is not None:
            self._take(row, partial(line_of, row, book, self.asked.day_in(book.timezone, self.now)))
        return book is not None

    def from_events(self, told: tuple[LoanRow, Sequence[LogRow]]) -> None:
        """Make the line of a loan from its events."""
        row, logged = told
        self._take(row, partial(_folded, row, logged, asked=self.asked, now=self.now))

    def _stored(self, row: LoanRow) -> Book | None:
        if self.asked.known_at is not None or row.fold_error is not None:
            return None
        book = folding.opened(row).book
        return book if book is not None and tells_of(book, self.asked.day_in(book.timezone, self.now)) else None

    def _take(self, row: LoanRow, make: Callable[[], Line | None]) -> None:
        try:
            line = make()
        except Exception as error:  # noqa: BLE001  # a rule that fails concerns one loan, never the report
            reason = f"{type(error).__name__}: {error}"[:300]
            logs.get("report").warning("loan_undigested", tenant=row.tenant, loan_id=row.loan_id, reason=reason)
            self.undigested += 1
            return
        if line is not None and self.asked.bucket in (None, line.bucket) and self.asked.product in (None, line.product):
            self.lines[row.loan_id] = line


def _folded(row: LoanRow, logged: Sequence[LogRow], *, asked: Asked, now: datetime) -> Line | None:
    events, line, day = told(row, logged, asked, now)
    return line_of(row, fold(events, line, day), day)
