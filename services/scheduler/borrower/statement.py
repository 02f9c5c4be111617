"""A debt's statement as its borrower reads it, fetched from ingest; each line has the number by which it can be disputed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import msgspec

from libs.common import logs
from services.scheduler.elsewhere import Asking, Elsewhere, NoAnswerError

WITHIN_S = 4.0
"""How long a borrower waits for it."""
MOST_LINES = 60


class _Line(msgspec.Struct):
    number: int
    due_on: date
    component: str
    side: str
    amount: int


class _Entry(msgspec.Struct):
    number: int
    on: date
    lines: list[_Line]
    credit_change: int
    undone_by: msgspec.Raw | None = None


class _Said(msgspec.Struct):
    at: str
    currency: str
    entries: list[_Entry]


@dataclass(frozen=True, slots=True)
class LineSeen:
    """What a day added to the open amount or, if negative, took off it; `what` is a component, None for credit."""

    number: int
    on: date
    side: str
    what: str | None
    due_on: date | None
    amount: int


@dataclass(frozen=True, slots=True)
class StatementSeen:
    """The newest lines, oldest first, as of a moment, and how many older ones there are."""

    at: str
    currency: str
    lines: tuple[LineSeen, ...]
    older: int


async def statement_of(elsewhere: Elsewhere, tenant: str, loan_id: str) -> StatementSeen | None:
    """Return the statement of a loan; None if ingest does not answer, since the page works without it."""
    try:
        async with asyncio.timeout(WITHIN_S):
            answered = await elsewhere.read("ingest", f"/v1/loans/{loan_id}/statement", Asking(tenant, None))
        said = msgspec.convert(answered, _Said)
    except (NoAnswerError, TimeoutError, msgspec.ValidationError) as error:
        logs.get("page").warning("no_statement", reason=type(error).__name__)
        return None
    lines = [line for entry in said.entries for line in _lines(entry)]
    return StatementSeen(said.at, said.currency, tuple(lines[-MOST_LINES:]), max(0, len(lines) - MOST_LINES))


def _lines(entry: _Entry) -> Iterator[LineSeen]:
    """Yield the lines of an entry, plus one for the entry itself if it changed the credit."""
    for line in entry.lines:
        amount = line.amount if line.side == "due" else -line.amount
        yield LineSeen(line.number, entry.on, line.side, line.component, line.due_on, amount)
    if entry.credit_change:
        yield LineSeen(entry.number, entry.on, "credit", None, None, -entry.credit_change)
