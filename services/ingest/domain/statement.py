"""A loan's statement: what is owed, instalment by instalment, and the numbered lines that led there."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date

from services.ingest.domain.amounts import NOTHING, Amounts, plus
from services.ingest.domain.events import LoanEvent, Parts
from services.ingest.domain.product import ProductLine
from services.ingest.domain.trail import Line, Posting, trail
from services.ingest.domain.value import Value
from services.ingest.domain.view import LoanView, ScheduleRow, view


class Owed(Value, frozen=True):
    """An instalment, and how much of what is open on it is overdue."""

    row: ScheduleRow
    overdue: Parts


class Numbered(Value, frozen=True):
    """A line with its number, and what is outstanding after it."""

    number: int
    line: Line
    balance: int


class Entry(Value, frozen=True):
    """An event with its number, what it added to credit (or took from it, if negative), and its lines.

    Events and lines are numbered in one sequence, so that each can be disputed by its number.
    """

    number: int
    posting: Posting
    credit_change: int
    lines: tuple[Numbered, ...]


class Totals(Value, frozen=True):
    """All instalments together; `left_at_end` was open when the loan was written off or closed, and is no longer outstanding."""

    due: Parts
    paid: Parts
    waived: Parts
    left_at_end: Parts


class Statement(Value, frozen=True):
    """What is owed on a day according to the lender, and why."""

    shown: LoanView
    instalments: tuple[Owed, ...]
    totals: Totals
    entries: tuple[Entry, ...]


def stated(events: Iterable[LoanEvent], product: ProductLine, as_of: date) -> Statement | None:
    """Return the statement of a loan on a day; None while the loan is unknown."""
    told = trail(events, product, as_of)
    if not told.trace.book.known:
        return None
    shown = view(told.trace.book, as_of)
    return Statement(shown, _instalments(shown), _totals(shown), tuple(_entries(told.postings)))


def _instalments(shown: LoanView) -> tuple[Owed, ...]:
    overdue: dict[int, Amounts] = {}
    for late in shown.late:
        overdue[late.n] = plus(overdue.get(late.n, NOTHING), late.amounts)
    return tuple(Owed(row, Parts(*overdue.get(row.n, NOTHING))) for row in shown.schedule)


def _totals(shown: LoanView) -> Totals:
    due, paid, waived = Parts(), Parts(), Parts()
    for row in shown.schedule:
        due, paid, waived = due + row.due, paid + row.paid, waived + row.waived
    return Totals(due, paid, waived, due - paid - waived - shown.outstanding)


def _entries(postings: Sequence[Posting]) -> Iterator[Entry]:
    number, balance, credit = 1, 0, 0
    for posting in postings:
        yield Entry(number, posting, posting.credit - credit, tuple(_numbered(number + 1, posting, balance)))
        number += 1 + len(posting.lines)
        balance, credit = posting.outstanding, posting.credit


def _numbered(first: int, posting: Posting, balance: int) -> Iterator[Numbered]:
    """Number the lines of a posting; once the loan has ended, they no longer change what is outstanding."""
    ended = posting.outstanding != balance + sum(line.change for line in posting.lines)
    for number, line in enumerate(posting.lines, first):
        balance = posting.outstanding if ended else balance + line.change
        yield Numbered(number, line, balance)
