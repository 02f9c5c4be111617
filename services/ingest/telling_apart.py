"""Which events of a batch are new, which were there before, and which exceed a loan's limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from services.ingest.folding import Loan
from services.ingest.store.events import LogRow
from services.ingest.store.loans import Key

MOST_EVENTS = 10_000
"""Events per loan: when one arrives out of order, the loan is folded from all of them."""


class Identified(Protocol):
    """A row of a log, identified by its identity."""

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """Return the identity of the event."""


L = TypeVar("L", bound=Identified)
A = TypeVar("A")


def split_new(rows: Sequence[tuple[L, A]], new: set[tuple[str, str, str, str]] | None) -> tuple[list[tuple[L, A]], list[tuple[L, A]]]:
    """Return the rows that were added (`new` is None: all) and the others; of two rows with one identity the first was added."""
    if new is None:
        return list(rows), []
    left, fresh, others = set(new), [], []
    for row, arrival in rows:
        if row.identity in left:
            left.discard(row.identity)
            fresh.append((row, arrival))
        else:
            others.append((row, arrival))
    return fresh, others


def with_room(fresh: list[tuple[LogRow, A]], locked: Mapping[Key, Loan]) -> tuple[list[tuple[LogRow, A]], list[tuple[LogRow, A]]]:
    """Return the new events within their loans' limit, and those beyond it."""
    if all(loan.row.accepted + len(fresh) <= MOST_EVENTS for loan in locked.values()):
        return fresh, []
    room = {key: MOST_EVENTS - loan.row.accepted for key, loan in locked.items()}
    fits, beyond = list[tuple[LogRow, A]](), list[tuple[LogRow, A]]()
    for row, arrival in fresh:
        room[row.tenant, row.loan_id] -= 1
        (fits if room[row.tenant, row.loan_id] >= 0 else beyond).append((row, arrival))
    return fits, beyond
