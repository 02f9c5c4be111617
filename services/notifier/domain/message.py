"""What a message says: the debts it names and their sum, written for its reader."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as member
from datetime import date, datetime

from libs.common.contracts.overdue_facts import OverdueFact
from libs.common.contracts.values import Attributes
from libs.common.money import money
from libs.common.value import Value, field
from libs.compliance import ContentKind

COMPONENTS = ("principal", "interest", "fee", "penalty")
VARIABLE = "variables."
"""Prefix of the request's variables."""
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Embeddings, overrides and isolates of Unicode's bidirectional algorithm; a name's letters have their own direction without them."""
WORDS = (*COMPONENTS, "name", "lender", "contact", "total", "debts", "due_on", "product", "link")
"""What a provider's approved text can be filled with, besides the variables."""


class TextRef(Value, frozen=True):
    """Which text: version 0 is shipped, any other is the tenant's own."""

    name: str
    locale: str
    channel: str
    version: int

    @property
    def spares_parts(self) -> bool:
        """Return whether its link must not cost an extra part: true of shipped SMS texts; a tenant's own carries its link as written."""
        return self.channel == "sms" and self.version == 0


class Split(Value, frozen=True):
    """The sum by component, each as written."""

    principal: str
    interest: str
    fee: str
    penalty: str


class DebtLine(Value, frozen=True):
    """One debt as the text names it."""

    loan_id: str
    product: str
    amount: str
    due_on: str


class Lender(Value, frozen=True):
    """Who is speaking: the lender's name as its borrowers know it, and how to reach it."""

    name: str
    contact: str | None = None


class Draft(Value, frozen=True):
    """Everything a template may use except the name, which is sealed until the message goes out."""

    lender: Lender
    debts: tuple[DebtLine, ...]
    total: str
    split: Split | None = None
    """None if the components are not known, as in a reminder."""
    amounts: tuple[str, ...] | None = None
    """The components of the split that are not zero."""
    asks: frozenset[ContentKind] = frozenset()
    variables: Mapping[str, object] = field(default_factory=dict)
    link: str | None = None
    """The reader's own page; None if messages carry no link."""


class Rendered(Value, frozen=True):
    """A text, with a subject and HTML where it has them."""

    subject: str | None
    body: str
    html: str | None = None


@dataclass(frozen=True, slots=True)
class Making:
    """What a message's text was made from: for providers that send only texts they have approved, and fill those in themselves."""

    ref: TextRef
    draft: Draft = member(repr=False)
    name: str | None = member(default=None, repr=False)

    def value(self, wanted: str) -> str | None:
        """Return one of the values a text is filled with; None if it does not exist, or this message has none."""
        draft, split = self.draft, self.draft.split
        if wanted.startswith(VARIABLE):
            found = draft.variables.get(wanted.removeprefix(VARIABLE))
            return str(found) if isinstance(found, str | int) and not isinstance(found, bool) and found != "" else None
        if wanted in COMPONENTS:
            return getattr(split, wanted) if split else None
        known = {
            "name": self.name, "lender": draft.lender.name, "contact": draft.lender.contact, "total": draft.total,
            "debts": str(len(draft.debts)), "due_on": min((one.due_on for one in draft.debts if one.due_on), default=None),
            "product": draft.debts[0].product if len(draft.debts) == 1 else None, "link": draft.link,
        }  # fmt: skip
        return known.get(wanted) or None


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
    """No provider may deliver it after this."""
    unsubscribe: str | None = None
    """Mail only: where its reader unsubscribes with one click (RFC 8058)."""
    start_by: float | None = None
    """It must have started by this second of the process's stopwatch: what came in since its claim was not considered."""
    making: Making | None = None
    link: str | None = None
    """The borrower's page, for an app that opens it."""


class Saying(Value, frozen=True):
    """What a draft is made from besides the debts."""

    lender: Lender
    locale: str
    """The locale in which sums are written."""
    plain: bool = False
    """Whether sums must use as little of an SMS as possible."""
    reminder: bool = False
    asks: frozenset[ContentKind] = frozenset()
    variables: Attributes = field(default_factory=dict)
    link: str | None = None


def draft(debts: Sequence[OverdueFact], saying: Saying) -> Draft:
    """Return what the message will say about these debts: what is overdue, or what is due next."""
    owed = [(debt, *_owed(debt, reminder=saying.reminder)) for debt in debts]
    lines = tuple(
        DebtLine(debt.loan_id, debt.product, _money(amount, debt.currency, saying), due_on.isoformat() if due_on else "")
        for debt, amount, due_on in owed
    )
    total = _total([(debt.currency, amount) for debt, amount, _ in owed], saying)
    split, amounts = (None, None) if saying.reminder else _split(debts, saying)
    return Draft(saying.lender, lines, total, split, amounts, saying.asks, saying.variables, saying.link)


def _owed(debt: OverdueFact, *, reminder: bool) -> tuple[int, date | None]:
    if reminder:
        return (debt.next_due.total, debt.next_due.due_on) if debt.next_due else (0, None)
    return debt.overdue.total, debt.anchor.due_on if debt.anchor else None


def _split(debts: Sequence[OverdueFact], saying: Saying) -> tuple[Split, tuple[str, ...]]:
    by = {name: [(debt.currency, getattr(debt.overdue, name)) for debt in debts] for name in COMPONENTS}
    totals = {name: _total(amounts, saying) for name, amounts in by.items()}
    return Split(**totals), tuple(totals[name] for name, amounts in by.items() if any(amount for _, amount in amounts))


def _total(amounts: Sequence[tuple[str, int]], saying: Saying) -> str:
    """Return the sum in each currency of the debts; usually there is only one."""
    if len(amounts) == 1:
        return _money(amounts[0][1], amounts[0][0], saying)
    sums: dict[str, int] = {}
    for currency, amount in amounts:
        sums[currency] = sums.get(currency, 0) + amount
    return " + ".join(_money(total, currency, saying) for currency, total in sorted(sums.items()))


def _money(amount: int, currency: str, saying: Saying) -> str:
    return money(amount, currency, saying.locale, plain=saying.plain)


def in_one_line(name: str | None) -> str | None:
    """Return a name in a form that a text can hold: people choose their names, and must not control how the words after them look.

    Line ends and control characters become spaces; characters that change the direction of what follows are removed.
    """
    if name is None:
        return None
    kept = "".join(" " if unicodedata.category(one) == "Cc" else one for one in name if one not in _BIDI_CONTROLS)
    return " ".join(kept.split()) or None
