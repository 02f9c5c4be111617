"""What a message says: the debts it names and their sum, written for its reader."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from libs.common.contracts.overdue_facts import OverdueFact
from libs.common.contracts.values import Attributes
from libs.common.money import written
from libs.compliance import ContentKind

COMPONENTS = ("principal", "interest", "fee", "penalty")


@dataclass(frozen=True, slots=True)
class TextRef:
    """Which text: version 0 is shipped, any other one of the tenant's own."""

    name: str
    locale: str
    channel: str
    version: int


@dataclass(frozen=True, slots=True)
class Split:
    """The sum by component, each as it is written."""

    principal: str
    interest: str
    fee: str
    penalty: str


@dataclass(frozen=True, slots=True)
class DebtLine:
    """One debt as the text names it."""

    loan_id: str
    product: str
    amount: str
    due_on: str


@dataclass(frozen=True, slots=True)
class Lender:
    """Who speaks: the lender's name as its borrowers know it, and how to reach it."""

    name: str
    contact: str | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """Everything a template may use, but for the name, which is sealed until the message goes out."""

    lender: Lender
    debts: tuple[DebtLine, ...]
    total: str
    split: Split | None = None
    """None where the components are not known: a reminder."""
    amounts: tuple[str, ...] | None = None
    """The components of the split that are not zero."""
    asks: frozenset[ContentKind] = frozenset()
    variables: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A text, its subject where the channel has one, and its HTML where it has that."""

    subject: str | None
    body: str
    html: str | None = None


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message ready to go, for this attempt only."""

    id: str
    tenant: str
    task_id: str
    borrower_id: str
    channel: str
    to: str
    subject: str | None
    body: str
    html: str | None = None
    deadline: datetime | None = None
    """After it, no provider may deliver it any more."""
    unsubscribe: str | None = None
    """The https link that ends such mails with one request (RFC 8058)."""


@dataclass(frozen=True, slots=True)
class Saying:
    """What a draft is made of beside the debts."""

    lender: Lender
    locale: str
    reminder: bool = False
    asks: frozenset[ContentKind] = frozenset()
    variables: Attributes = field(default_factory=dict)


def draft(debts: Sequence[OverdueFact], saying: Saying) -> Draft:
    """Return what the message will say about these debts: what is overdue, or what is due next."""
    owed = [(debt, *_owed(debt, reminder=saying.reminder)) for debt in debts]
    lines = tuple(
        DebtLine(debt.loan_id, debt.product, money(amount, debt.currency, saying.locale), due_on.isoformat() if due_on else "")
        for debt, amount, due_on in owed
    )
    total = _total(((debt.currency, amount) for debt, amount, _ in owed), saying.locale)
    split, amounts = (None, None) if saying.reminder else _split(debts, saying.locale)
    return Draft(saying.lender, lines, total, split, amounts, saying.asks, saying.variables)


def money(amount_minor: int, currency: str, locale: str) -> str:
    """Return an amount with its currency: `CNY 120.50`."""
    return f"{currency} {written(amount_minor, currency, locale.replace('-', '_'))}"


def _owed(debt: OverdueFact, *, reminder: bool) -> tuple[int, date | None]:
    if reminder:
        return (debt.next_due.total, debt.next_due.due_on) if debt.next_due else (0, None)
    return debt.overdue.total, debt.anchor.due_on if debt.anchor else None


def _split(debts: Sequence[OverdueFact], locale: str) -> tuple[Split, tuple[str, ...]]:
    by = {name: [(debt.currency, getattr(debt.overdue, name)) for debt in debts] for name in COMPONENTS}
    totals = {name: _total(amounts, locale) for name, amounts in by.items()}
    return Split(**totals), tuple(totals[name] for name, amounts in by.items() if any(amount for _, amount in amounts))


def _total(amounts: Iterable[tuple[str, int]], locale: str) -> str:
    """Return the sum in every currency of the debts; there is one unless a case was made otherwise."""
    sums: dict[str, int] = {}
    for currency, amount in amounts:
        sums[currency] = sums.get(currency, 0) + amount
    return " + ".join(money(total, currency, locale) for currency, total in sorted(sums.items()))
