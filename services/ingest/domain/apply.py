"""What each event does to the ledger, applied in its place."""

from datetime import date
from itertools import accumulate

from services.ingest.domain.allocate import INDEX, allot, charges_paid, spread, use_credit_as_paid, use_credit_on
from services.ingest.domain.amounts import NOTHING, PRINCIPAL, Amounts, minus, only, plus
from services.ingest.domain.book import Charge, Debt, Instalment, Lot, Pause
from services.ingest.domain.events import (
    ChargeAdded,
    ChargedBack,
    ChargedOff,
    Closed,
    Component,
    CreditRefunded,
    InstalmentDue,
    Paused,
    Placed,
    Repaid,
    Rescheduled,
    Resumed,
    Waived,
    WrittenOff,
)
from services.ingest.domain.placing import base_rows, lay_charge, lay_debt, relay
from services.ingest.domain.value import replace
from services.ingest.domain.work import (
    Entry,
    Work,
    blank,
    keep_credit,
    laid_out,
    outstanding,
    pay,
    record_split,
    row_with,
    show_witness,
    take_credit,
    waive,
)


def apply(work: Work, event: Placed, on: date) -> None:
    """Apply one event to the ledger."""
    match event:
        case Repaid():
            on_repaid(work, event, on)
        case InstalmentDue():
            on_instalment_due(work, event, on)
        case ChargeAdded():
            on_charge_added(work, event)
        case Waived():
            on_waived(work, event, on)
        case ChargedBack():
            on_charged_back(work, event, on)
        case CreditRefunded():
            on_credit_refunded(work, event, on)
        case Rescheduled():
            on_rescheduled(work, event, on)
        case _:
            _mark(work, event, on)


def _mark(work: Work, event: Paused | Resumed | ChargedOff | WrittenOff | Closed, on: date) -> None:
    """Apply an event that changes no amount; of two marks of one kind the first holds."""
    match event:
        case Paused():
            work.pauses.append(Pause(event.from_on, event.until))
        case Resumed():
            work.resumes.append(event.on)
        case Closed():
            work.closed_on = work.closed_on or on
        case ChargedOff():
            work.charged_off_on = work.charged_off_on or on
            _enter(work, "charge_off", event.charge_off_id or event.place.id, on=on, split=outstanding(work))
        case WrittenOff():
            split = NOTHING if work.written_off_on else outstanding(work)
            work.written_off_on = work.written_off_on or on
            _enter(work, "write_off", event.write_off_id or event.place.id, on=on, split=split)


def _enter(work: Work, kind: str, movement: str, *, on: date, split: Amounts, amount: int | None = None) -> None:
    """Record a movement other than a payment, if movements are asked for."""
    if work.entries is not None:
        total = sum(split) if amount is None else amount
        work.entries[f"{kind}\0{movement}"] = Entry(movement, kind, on, total, split, credit=sum(split) - total)


def on_repaid(work: Work, event: Repaid, on: date) -> None:
    """Allocate a payment: first as its publisher says, then by the rules; the rest is credit."""
    kind = event.kind.value
    if work.entries is not None:
        work.entries[event.repayment_id] = Entry(event.repayment_id, kind, on, event.amount)
    amount = event.amount
    if event.allocations:
        split = allot(work, amount, event.allocations, on)
        amount -= sum(split)
        record_split(work, event.repayment_id, split)
        if work.entries is not None:
            work.entries[event.repayment_id].explicit = sum(split)
    split = spread(work, amount, kind, on=on)
    record_split(work, event.repayment_id, split)
    left = amount - sum(split)
    if left:
        keep_credit(work, Lot(event.repayment_id, kind, on, left))


def on_instalment_due(work: Work, event: InstalmentDue, on: date) -> None:
    """Add an instalment to the schedule; credit pays for it."""
    new = blank(event.row)
    at = row_with(work, new.n)
    if event.currency not in (None, work.currency):
        work.unused.append((event.place.id, "another currency than the loan's"))
    elif at is not None and not work.rows[at].extra:
        if all((row.n, row.due_on, row.due) != (new.n, new.due_on, new.due) for row in base_rows(work)):
            work.unused.append((event.place.id, f"instalment {new.n} is already in the schedule"))
    else:
        _add_row(work, new, on)
        _apply_waiting(work)
        use_credit_as_paid(work)


def _add_row(work: Work, new: Instalment, on: date) -> None:
    last = work.rows[-1] if work.rows else None
    asked = any(charge.n == new.n for charge in work.charges)
    extra = any(row.extra for row in work.rows)
    if last is None or not (extra or asked or (last.due_on, last.n) > (new.due_on, new.n)):
        work.rows.append(new)
    else:
        rows = sorted([*base_rows(work), new], key=lambda row: (row.due_on, row.n))
        relay(work, rows, on)


def on_charge_added(work: Work, event: ChargeAdded) -> None:
    """Add a charge to its instalment; earlier credit pays for it, as the payment it comes from would have."""
    work.charges.append(lay_charge(work, Charge(event.charge_id, event.kind, event.amount, event.due_on, event.n, at=0)))
    use_credit_as_paid(work)


def charge_open(work: Work, charge: Charge) -> int:
    """Return what is open of a charge."""
    at = row_with(work, charge.at)
    on_row = 0 if at is None else work.rows[at].open[INDEX[charge.kind]]
    beside = [other for other in work.charges if other.at == charge.at]
    return min(on_row, charge.amount - charge.waived - charges_paid(work.rows, beside)[charge.charge_id])


def on_waived(work: Work, event: Waived, on: date) -> None:
    """Waive a charge, or a component of an instalment; the amount was determined before the fold."""
    if event.charge_id is not None:
        for index, charge in enumerate(work.charges):
            if charge.charge_id == event.charge_id:
                amount = min(event.amount or 0, charge_open(work, charge))
                at = row_with(work, charge.at)
                given = NOTHING if at is None else waive(work, at, only(INDEX[charge.kind], amount), on)
                work.charges[index] = replace(charge, waived=charge.waived + sum(given))
        return
    at = None if event.n is None else row_with(work, event.n)
    if at is None:
        work.waiting.append(event)
        return
    row = work.rows[at]
    charges = {charge.charge_id: charge_open(work, charge) for charge in work.charges if charge.at == row.n}
    given = waive(work, at, waiver_parts(row.open, event), on)
    if charges:
        _waive_charges(work, charges, still=row.open, given=given)


def _waive_charges(work: Work, charges: dict[str, int], *, still: Amounts, given: Amounts) -> None:
    """Waive of the charges what was waived of a component beyond the schedule's part of it; the charge due first comes first."""
    beyond = [one - other for one, other in zip(given, still, strict=True)]
    for charge in work.charges:
        beyond[INDEX[charge.kind]] += charges.get(charge.charge_id, 0)
    for index, charge in sorted(enumerate(work.charges), key=lambda one: one[1].due_on):
        part = max(0, min(charges.get(charge.charge_id, 0), beyond[INDEX[charge.kind]]))
        beyond[INDEX[charge.kind]] -= part
        if part:
            work.charges[index] = replace(charge, waived=charge.waived + part)


def waiver_parts(still: Amounts, event: Waived) -> Amounts:
    """Return how much of what is open on an instalment is waived, principal last."""
    left = sum(still) if event.amount is None else event.amount
    parts = NOTHING
    for component in (Component.PENALTY, Component.FEE, Component.INTEREST, Component.PRINCIPAL):
        if event.component in (None, component):
            part = min(left, still[INDEX[component]])
            left -= part
            parts = plus(parts, only(INDEX[component], part))
    return parts


def _apply_waiting(work: Work) -> None:
    """Apply waivers that were waiting for their instalment."""
    waiting, work.waiting = work.waiting, []
    for event in waiting:
        show_witness(work)
        on_waived(work, event, event.place.day)
        show_witness(work, event.waiver_id)


def on_charged_back(work: Work, event: ChargedBack, on: date) -> None:
    """Add the amount as a new debt; credit covers it first if all of it is principal, else credit is allocated afterwards."""
    if work.allocation.chargeback_split == (Component.PRINCIPAL,):
        covered = _owe_again(work, event.chargeback_id, event.amount, on=on, chargeback=True)
        split = only(PRINCIPAL, event.amount - covered)
    else:
        split = _split_of(work, event)
        debt, _ = lay_debt(work, Debt(event.chargeback_id, on, split, chargeback=True, at=0))
        work.debts.append(debt)
        use_credit_on(work, on)
    _enter(work, "chargeback", event.chargeback_id, on=on, split=split, amount=event.amount)


def _split_of(work: Work, event: ChargedBack) -> Amounts:
    """Split a chargeback by the components of its payment, in order and less what was charged back before."""
    entry = None if work.entries is None else work.entries.get(event.repayment_id)
    back = work.returned.get(event.repayment_id, NOTHING)
    still = NOTHING if entry is None else minus(entry.split, back)
    left, split = event.amount, NOTHING
    for component in work.allocation.chargeback_split:
        part = max(0, min(left, still[INDEX[component]]))
        left -= part
        split = plus(split, only(INDEX[component], part))
    split = plus(split, only(PRINCIPAL, left))
    work.returned[event.repayment_id] = plus(back, split)
    return split


def on_credit_refunded(work: Work, event: CreditRefunded, on: date) -> None:
    """Pay credit out; whatever exceeds the credit is owed as principal."""
    covered = _owe_again(work, event.refund_id, event.amount, on=on, chargeback=False)
    _enter(work, "refund", event.refund_id, on=on, split=only(PRINCIPAL, event.amount - covered), amount=event.amount)


def _owe_again(work: Work, debt_id: str, amount: int, *, on: date, chargeback: bool) -> int:
    """Cover the amount with credit; if that falls short, owe all of it as principal, with the covered part paid on that day.

    Return what credit covered.
    """
    covered = take_credit(work, amount)
    if covered == amount:
        return covered
    debt, at = lay_debt(work, Debt(debt_id, on, only(PRINCIPAL, amount), chargeback=chargeback, at=0))
    work.debts.append(debt)
    if covered:
        pay(work, at, only(PRINCIPAL, covered), on)
    return covered


def on_rescheduled(work: Work, event: Rescheduled, on: date) -> None:
    """Put a schedule in force that keeps what was paid; a version not above the one in force does nothing."""
    if event.version <= work.version:
        return
    if not work.original:
        work.original = running(base_rows(work))
    work.version = event.version
    relay(work, laid_out(event.schedule), on)
    _apply_waiting(work)
    use_credit_on(work, on)


def running(rows: list[Instalment]) -> tuple[tuple[date, int], ...]:
    """Return due dates with the total owed by then."""
    return tuple(zip((row.due_on for row in rows), accumulate(sum(row.due) for row in rows), strict=True))
