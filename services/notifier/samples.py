"""What a text is tried with before anybody reads it: invented borrowers, debts and sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from libs.common.contracts.overdue_facts import Amounts, Anchor, NextDue, OverdueFact
from libs.common.page_links import TOKEN_CHARS, PageLinks

NAME = "N. N."
DUE_ON = date(2026, 1, 15)
EXAMPLE = f"https://pay.example/b/{'A' * TOKEN_CHARS}"


@dataclass(frozen=True, slots=True)
class Sum:
    """A sample debt, in minor units."""

    principal: int = 0
    interest: int = 0
    fee: int = 0
    penalty: int = 0
    currency: str = "CNY"
    due_on: date = DUE_ON
    product: str = "cash-loan"


class Anything(dict[str, object]):
    """The variables of an unknown policy: each is 6."""

    def __missing__(self, name: str) -> object:
        return 6


ONE = (Sum(100_000, 2_050, 500, 125),)
SEVERAL = tuple(Sum(10_000 * n, 250 * n, 0, 15 * n) for n in range(1, 4))
MANY = tuple(Sum(10_000 + n) for n in range(40))
BOOKS = (ONE, SEVERAL, MANY)
"""The debts that every text must be able to name."""


def link(links: PageLinks | None) -> str | None:
    """Return a sample link in the form messages carry, leading to no real page; None if messages carry none."""
    return None if links is None else f"{links.url}/b/{'A' * TOKEN_CHARS}"


def facts(sums: Sequence[Sum]) -> list[OverdueFact]:
    """Return sample debts as facts: overdue, and with the same sum due next."""
    return [_fact(n, one) for n, one in enumerate(sums, start=1)]


def _fact(n: int, one: Sum) -> OverdueFact:
    total = one.principal + one.interest + one.fee + one.penalty
    owed = Amounts(principal=one.principal, interest=one.interest, fee=one.fee, penalty=one.penalty, total=total)
    return OverdueFact(
        loan_id=f"sample-{n}", borrower_id="sample", product=one.product, currency=one.currency, timezone="UTC", jurisdictions=(),
        status="active", epoch=1, version=1, as_of=one.due_on, overdue=owed, outstanding=owed, bucket="M1",
        anchor=Anchor(n=n, due_on=one.due_on), next_due=NextDue(n=n, due_on=one.due_on, total=total),
    )  # fmt: skip
