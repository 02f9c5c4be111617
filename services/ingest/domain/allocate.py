"""How money is allocated to the instalments."""

from collections.abc import Iterable, Sequence
from datetime import date
from functools import lru_cache

from services.ingest.domain.amounts import FEE, INTEREST, NOTHING, PENALTY, PRINCIPAL, Amounts, least, only, plus
from services.ingest.domain.book import Charge, Instalment, Lot
from services.ingest.domain.events import Allotted, Component
from services.ingest.domain.product import Allocation, ChargeClass, FutureRule, Mode, Slot
from services.ingest.domain.value import Value
from services.ingest.domain.work import Work, classes, keep_credit, pay, record_split, row_with, show_witness, take_credit

INDEX = {Component.PRINCIPAL: PRINCIPAL, Component.INTEREST: INTEREST, Component.FEE: FEE, Component.PENALTY: PENALTY}
PAST_DUE, DUE, IN_ADVANCE = "past_due", "due", "in_advance"
CHARGES_DUE = "charges_due"


class Step(Value, frozen=True):
    """One pass over the instalments of a class; within an instalment, the components in order."""

    when: str
    components: tuple[int, ...]


@lru_cache(maxsize=256)
def steps_of(allocation: Allocation) -> tuple[Step, ...]:
    """Return the passes that an allocation makes."""
    entries = [_entry(slot) for slot in dict.fromkeys((*allocation.order, *Slot))]
    if allocation.mode is Mode.VERTICAL:
        steps = [Step(when, (component,)) for when, component in entries]
    else:
        order = dict.fromkeys(when for when, _ in entries)
        steps = [Step(when, tuple(component for at, component in entries if at == when)) for when in order]
    if allocation.charge_class_by is ChargeClass.CHARGE:
        first = next(at for at, step in enumerate(steps) if step.when == IN_ADVANCE)
        steps.insert(first, Step(CHARGES_DUE, tuple(component for when, component in entries if when == DUE)))
    return tuple(steps)


def _entry(slot: Slot) -> tuple[str, int]:
    when, _, component = slot.value.rpartition("_")
    return when, INDEX[Component(component)]


def rule_for(allocation: Allocation, kind: str) -> FutureRule:
    """Return the rule by which money of this kind goes to future instalments."""
    rule = FutureRule.NEXT
    for named, its in allocation.future_instalments:
        if named == kind:
            return its
        if named == "default":
            rule = its
    return rule


def spread(work: Work, amount: int, kind: str, *, on: date) -> Amounts:
    """Allocate money by the rules and return the split; what the instalments do not take is left over."""
    first, end = classes(work, on)
    rows = work.rows
    split = NOTHING
    for step in steps_of(work.allocation):
        if not amount:
            break
        if step.when == PAST_DUE:
            taken = _pour(work, range(first), step.components, amount=amount, on=on)
        elif step.when == DUE:
            taken = _pour(work, range(first, end), step.components, amount=amount, on=on)
        elif step.when == CHARGES_DUE:
            taken = _pour_on_charges(work, range(end, len(rows)), step.components, amount=amount, on=on)
        else:
            taken = _pour_ahead(work, end, step.components, amount=amount, rule=rule_for(work.allocation, kind), on=on)
        if taken is not NOTHING:
            amount -= sum(taken)
            split = plus(split, taken)
    return split


def _pour(work: Work, where: Iterable[int], components: Sequence[int], *, amount: int, on: date) -> Amounts:
    """Pay one instalment after the other."""
    split, rows = NOTHING, work.rows
    for at in where:
        if not amount:
            break
        if rows[at].left:
            taken = _fill(work, at, components, still=rows[at].open, amount=amount, on=on)
            amount -= sum(taken)
            split = plus(split, taken)
    return split


def _fill(work: Work, at: int, components: Sequence[int], *, still: Amounts, amount: int, on: date) -> Amounts:
    """Pay the components of one instalment in order, each up to what is still open of it."""
    taken = [0, 0, 0, 0]
    for component in components:
        part = still[component]
        if part >= amount:
            taken[component], amount = amount, 0
            break
        taken[component] = part
        amount -= part
    amounts = taken[0], taken[1], taken[2], taken[3]
    if amounts != NOTHING:
        pay(work, at, amounts, on)
    return amounts


def _pour_ahead(work: Work, end: int, components: Sequence[int], *, amount: int, rule: FutureRule, on: date) -> Amounts:
    """Pay the instalments that are not yet due, by their rule."""
    where = range(end, len(work.rows))
    if rule is FutureRule.SPREAD:
        return _pour_evenly(work, where, components, amount=amount, on=on)
    return _pour(work, where if rule is FutureRule.NEXT else reversed(where), components, amount=amount, on=on)


def _pour_evenly(work: Work, where: range, components: Sequence[int], *, amount: int, on: date) -> Amounts:
    """Give every open instalment an equal part until nothing is left; the last one gets the odd cents."""
    split = NOTHING
    while amount:
        takers = [at for at in where if any(work.rows[at].open[component] for component in components)]
        if not takers:
            break
        part = half_even(amount, len(takers))
        rest = amount - part * (len(takers) - 1)
        for at in takers:
            offer = rest if at == takers[-1] else part
            taken = _fill(work, at, components, still=work.rows[at].open, amount=max(0, min(offer, amount)), on=on)
            amount -= sum(taken)
            split = plus(split, taken)
    return split


def half_even(amount: int, parts: int) -> int:
    """Divide, rounding half to even."""
    whole, rest = divmod(amount, parts)
    up = 2 * rest > parts or (2 * rest == parts and whole % 2 == 1)
    return whole + up


def _pour_on_charges(work: Work, where: range, components: Sequence[int], *, amount: int, on: date) -> Amounts:
    """Pay charges that are themselves due, on instalments that are not."""
    split, owed = NOTHING, _charges_due(work, on)
    for at in where if owed else ():
        row = work.rows[at]
        if amount and row.n in owed:
            taken = _fill(work, at, components, still=least(owed[row.n], row.open), amount=amount, on=on)
            amount -= sum(taken)
            split = plus(split, taken)
    return split


def _charges_due(work: Work, on: date) -> dict[int, Amounts]:
    """Return what is open of the charges due by that day, by instalment."""
    due = [charge for charge in work.charges if charge.due_on <= on]
    places = {charge.at for charge in due}
    paid = charges_paid((row for row in work.rows if row.n in places), (charge for charge in work.charges if charge.at in places))
    owed: dict[int, Amounts] = {}
    for charge in due:
        still = only(INDEX[charge.kind], charge.amount - charge.waived - paid[charge.charge_id])
        owed[charge.at] = plus(owed.get(charge.at, NOTHING), still)
    return owed


def charges_paid(rows: Iterable[Instalment], charges: Iterable[Charge]) -> dict[str, int]:
    """Return what was paid of each charge: money on a component of an instalment goes to the charge that is due first."""
    pools = {row.n: list(row.paid) for row in rows}
    paid: dict[str, int] = {}
    for charge in sorted(charges, key=lambda one: one.due_on):
        pool, component = pools[charge.at], INDEX[charge.kind]
        part = min(pool[component], charge.amount - charge.waived)
        pool[component] -= part
        paid[charge.charge_id] = part
    return paid


def allot(work: Work, amount: int, allotted: Sequence[Allotted], on: date) -> Amounts:
    """Book the publisher's own allocation, each part up to what is open there."""
    split = NOTHING
    for place in allotted:
        at = row_with(work, place.n)
        if at is None:
            continue
        wanted = least(place.parts.amounts, work.rows[at].open)
        taken = _fill(work, at, (PENALTY, FEE, INTEREST, PRINCIPAL), still=wanted, amount=amount, on=on)
        amount -= sum(taken)
        split = plus(split, taken)
    return split


def use_credit_as_paid(work: Work) -> None:
    """Let credit pay what is new as the payment it comes from would have, by that payment's day and kind."""
    lots, work.credit = work.credit, []
    if lots:
        show_witness(work)
    for lot in lots:
        split = spread(work, lot.amount, lot.kind, on=lot.on)
        record_split(work, lot.id, split)
        keep_credit(work, Lot(lot.id, lot.kind, lot.on, lot.amount - sum(split)))


def use_credit_on(work: Work, on: date) -> None:
    """Let credit pay what is owed, as money of that day and by the default rule."""
    amount = work.credit_left
    if amount:
        take_credit(work, sum(spread(work, amount, "default", on=on)))
