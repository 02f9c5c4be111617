"""What an account was asked for and when it paid, rebuilt from balances, payments and repayment status.

Statements are counted from April (0) to September (5); the statement of month k falls due in month k + 1. The payment booked in
month k + 1 answers statement k, and the status of month k tells how that went. The data themselves say so: of the accounts that
go from 0 to 2, nine in ten paid nothing in the month after, of those at -1, 98 % paid that statement in full, and those
that come back from 2 to 0 paid twice the usual share.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.importer.uci_accounts import Account

FIRST, LAST = 0, 5
MINIMUM_PERCENT = 5
MINIMUM_AMOUNT = 1000


@dataclass(frozen=True, slots=True)
class Asked:
    """An instalment: the statement it belongs to and its amount in NT$."""

    statement: int
    amount: int


@dataclass(frozen=True, slots=True)
class Paid:
    """A payment: the statement it answers, its amount in NT$, and whether the account was behind before it."""

    statement: int
    amount: int
    behind: bool


@dataclass(frozen=True, slots=True)
class Ledger:
    """An account's instalments and payments, oldest first."""

    asked: tuple[Asked, ...]
    paid: tuple[Paid, ...]


def rebuild(account: Account) -> Ledger:
    """Return instalments that the real payments meet when the status says they were met."""
    met = _met_by_payment(account.statuses)
    asked: list[Asked] = []
    begins, carried = met[0], 0
    for payment, until in zip(account.payments, met, strict=True):
        statements = range(begins, until + 1)
        if statements:
            amounts = _spread(carried + payment, [minimum_due(_balance(account, k)) for k in statements], carried)
            asked += map(Asked, statements, amounts)
            begins, carried = until + 1, 0
        else:
            carried += payment
    for k in range(begins, LAST + 1):
        asked.append(Asked(k, minimum_due(_balance(account, k)) + carried))
        carried = 0
    return Ledger(tuple(a for a in asked if a.amount > 0), _paid(account, met))


def missed(status: int) -> int:
    """Return how many instalments a status leaves unmet: 2 is one, 3 is two; 0 and 1 are none."""
    return max(status - 1, 0)


def minimum_due(balance: int) -> int:
    """Return the least that a statement of this balance asks for."""
    share = -(-balance * MINIMUM_PERCENT // 100)
    return max(0, min(balance, max(MINIMUM_AMOUNT, share)))


def _met_by_payment(statuses: tuple[int, ...]) -> list[int]:
    """Return, for the payments of April to September, the newest statement met by then; what is met stays met.

    April's payment answers March, before the data: its statement is met unless the status says that it was already open.
    """
    met = [k - missed(status) for k, status in enumerate(statuses[:LAST])]
    met.insert(0, min(met[0], FIRST - 1))
    return [max(met[: i + 1]) for i in range(len(met))]


def _balance(account: Account, statement: int) -> int:
    return account.balances[max(statement, FIRST)]


def _paid(account: Account, met: list[int]) -> tuple[Paid, ...]:
    """April's account was behind before the data begin when it still is after April's payment."""
    before = [met[0] - 1, *met[:-1]]
    answered = range(FIRST - 1, LAST)
    return tuple(
        Paid(k, amount, behind=newest < k - 1) for k, amount, newest in zip(answered, account.payments, before, strict=True) if amount > 0
    )


def _spread(money: int, weights: list[int], before: int) -> list[int]:
    """Share money in proportion; the first part is more than what had come before, which did not meet it."""
    if len(weights) == 1:
        return [money]
    total = sum(weights)
    first = money * weights[0] // total if total else money // len(weights)
    first = min(money, max(first, before + 1 if before else 0))
    return [first, *_spread(money - first, weights[1:], 0)]
