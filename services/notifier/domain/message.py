"""What a message says: the debts it names and their sum, written for its reader."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from libs.common.contracts.overdue_facts import OverdueFact
from libs.common.money import written

LANGUAGES = ("en", "zh")


@dataclass(frozen=True, slots=True)
class DebtLine:
    """One debt as the text names it."""

    loan_id: str
    product: str
    amount: str
    due_on: str


@dataclass(frozen=True, slots=True)
class Draft:
    """Everything a template may use, but for the name, which is sealed until the message goes out."""

    template: str
    language: str
    debts: tuple[DebtLine, ...]
    total: str


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
    deadline: datetime | None = None
    """After it, no provider may deliver it any more."""


def language_of(locale: str | None) -> str:
    """Return the language of a locale that there are templates for; English where there are none."""
    language = (locale or "").replace("_", "-").partition("-")[0].lower()
    return language if language in LANGUAGES else LANGUAGES[0]


def draft(template: str, locale: str | None, debts: Sequence[OverdueFact], *, reminder: bool) -> Draft:
    """Return what the message will say about these debts: what is overdue, or what is due next."""
    language = language_of(locale)
    owed = [(debt, *_owed(debt, reminder=reminder)) for debt in debts]
    lines = tuple(
        DebtLine(debt.loan_id, debt.product, money(amount, debt.currency, language), due_on.isoformat() if due_on else "")
        for debt, amount, due_on in owed
    )
    return Draft(template, language, lines, _total(((debt.currency, amount) for debt, amount, _ in owed), language))


def money(amount_minor: int, currency: str, language: str) -> str:
    """Return an amount with its currency: `CNY 120.50`."""
    return f"{currency} {written(amount_minor, currency, language)}"


def _owed(debt: OverdueFact, *, reminder: bool) -> tuple[int, date | None]:
    if reminder:
        return (debt.next_due.total, debt.next_due.due_on) if debt.next_due else (0, None)
    return debt.overdue.total, debt.anchor.due_on if debt.anchor else None


def _total(amounts: Iterable[tuple[str, int]], language: str) -> str:
    """Return the sum in every currency of the debts; there is one unless a case was made otherwise."""
    sums: dict[str, int] = {}
    for currency, amount in amounts:
        sums[currency] = sums.get(currency, 0) + amount
    return " + ".join(money(total, currency, language) for currency, total in sorted(sums.items()))
