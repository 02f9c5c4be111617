"""Which instalments charges and debts belong to, and what happens to them when the schedule changes."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from datetime import date

from services.ingest.domain.allocate import INDEX
from services.ingest.domain.amounts import NOTHING, Amounts, least, minus, only, plus
from services.ingest.domain.book import Charge, Debt, Instalment, Lot
from services.ingest.domain.value import replace
from services.ingest.domain.work import DUE_ON, Work, carried, keep_credit, owe, row_with, within

UNKNOWN_LOT = ""
"""The id for credit set free by a new schedule: its payment is no longer known."""


def row_for_charge(work: Work, due_on: date, n: int | None) -> int:
    """Return the requested instalment, else the first ordinary one whose period includes the date, else the extra one."""
    at = None if n is None else row_with(work, n)
    if at is not None:
        return at
    for at in range(bisect_left(work.rows, due_on, key=DUE_ON), len(work.rows)):
        if not (work.rows[at].down_payment or work.rows[at].extra):
            return at
    return extra_row(work, due_on)


def row_for_debt(work: Work, on: date) -> int:
    """Return the first instalment due after the day; on the last due date, the last one; else the extra one."""
    skips = work.allocation.chargeback_skips_down_payment
    for at in range(bisect_right(work.rows, on, key=DUE_ON), len(work.rows)):
        if not (work.rows[at].down_payment and skips):
            return at
    if work.rows and work.rows[-1].due_on == on and not (work.rows[-1].down_payment and skips):
        return len(work.rows) - 1
    return extra_row(work, on)


def extra_row(work: Work, due_on: date) -> int:
    """Return the one instalment outside the schedule, due on that day or later; it may fall due before a last down payment."""
    rows = work.rows
    at = next((at for at in range(len(rows) - 1, -1, -1) if rows[at].extra), None)
    if at is None:
        row = Instalment(max((row.n for row in rows), default=0) + 1, due_on, down_payment=False, extra=True, due=NOTHING)
    elif due_on <= rows[at].due_on:
        return at
    else:
        owe(work, at, NOTHING, due_on=due_on)
        row = rows.pop(at)
    at = bisect_right(rows, due_on, key=DUE_ON)
    rows.insert(at, row)
    return at


def lay_charge(work: Work, charge: Charge) -> Charge:
    """Add a charge to its instalment."""
    at = row_for_charge(work, charge.due_on, charge.n)
    owe(work, at, only(INDEX[charge.kind], charge.amount))
    return replace(charge, at=work.rows[at].n)


def lay_debt(work: Work, debt: Debt) -> tuple[Debt, int]:
    """Add a debt to its instalment; return where."""
    at = row_for_debt(work, debt.on)
    owe(work, at, debt.amounts)
    return replace(debt, at=work.rows[at].n), at


def added(work: Work) -> dict[int, Amounts]:
    """Return what charges and debts have added to each instalment."""
    totals: dict[int, Amounts] = {}
    for charge in work.charges:
        totals[charge.at] = plus(totals.get(charge.at, NOTHING), only(INDEX[charge.kind], charge.amount))
    for debt in work.debts:
        totals[debt.at] = plus(totals.get(debt.at, NOTHING), debt.amounts)
    return totals


def waived_by_charge(work: Work) -> dict[int, Amounts]:
    """Return what was waived of the charges on each instalment."""
    totals: dict[int, Amounts] = {}
    for charge in work.charges:
        if charge.waived:
            totals[charge.at] = plus(totals.get(charge.at, NOTHING), only(INDEX[charge.kind], charge.waived))
    return totals


def base_rows(work: Work) -> list[Instalment]:
    """Return the schedule without what charges and debts have added, and without payments."""
    bare, more = [], added(work)
    for row in work.rows:
        if not row.extra:
            due = minus(row.due, more.get(row.n, NOTHING))
            bare.append(Instalment(row.n, row.due_on, row.down_payment, extra=False, due=due, left=sum(due)))
    return bare


def relay(work: Work, rows: Iterable[Instalment], on: date) -> None:
    """Put another schedule in force: payments stay on instalments with the same due date, the rest becomes credit."""
    of_charges = waived_by_charge(work)
    before = [(row, minus(row.waived, least(of_charges.get(row.n, NOTHING), row.waived))) for row in work.rows]
    work.rows = list(rows)
    work.charges = [lay_charge(work, charge) for charge in work.charges]
    work.debts = [lay_debt(work, debt)[0] for debt in work.debts]
    where: dict[tuple[date | None, bool], list[int]] = {}
    for at, row in enumerate(work.rows):
        where.setdefault(_key(row), []).append(at)
    free, met = 0, dict[int, date | None]()
    for old, waived in before:
        places = where.get(_key(old))
        if places:
            at = next((at for at in places if work.rows[at].n == old.n), places[0])
            places.remove(at)
            met[at] = old.met_on
            work.rows[at], gone = carried(replace(old, waived=waived), work.rows[at], tolerance=work.terms.tolerance, on=on)
            free += gone
        else:
            free += sum(old.paid)
    _waive_charges_again(work, met, on)
    keep_credit(work, Lot(UNKNOWN_LOT, "default", on, free))


def _key(row: Instalment) -> tuple[date | None, bool]:
    return (None, False) if row.extra else (row.due_on, row.down_payment)


def _waive_charges_again(work: Work, met: dict[int, date | None], on: date) -> None:
    """Let waived amounts follow their charges; an instalment met thanks to them keeps its `met_on`."""
    of_charges = waived_by_charge(work)
    for at, row in enumerate(work.rows):
        again = least(of_charges.get(row.n, NOTHING), row.open)
        if again != NOTHING:
            left = row.left - sum(again)
            now_met = row.met_on is None and within(work.terms.tolerance, sum(row.due), left)
            met_on = (met.get(at) or on) if now_met else row.met_on
            work.rows[at] = replace(row, waived=plus(row.waived, again), left=left, met_on=met_on)
