"""An alternative: Tryton's `account_dunning`, which finds late debts, makes a dunning of each and raises it level by level.

Runs in the virtual environment of the peers, without any of our code. It considers no hours, stops or earlier contacts, writes no
message and sends nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from trytond import config

LEVELS = (1, 7, 30)
"""Days late at which a debt reaches a level."""
AT_ONCE = 500
CLERK = 1


def fill(server: str, name: str, debts: int, today: date) -> None:
    """Create the books of a company to which so many parties have owed something since yesterday."""
    pool = _pools(server)
    _create(name, pool)
    books = Books(name, pool(name))
    books.open(today)
    for at in range(0, debts, AT_ONCE):
        books.owe(range(at, min(at + AT_ONCE, debts)), today)
    print("filled", flush=True)


def run(server: str, name: str) -> None:
    """For each line of standard input do that day's dunnings, and print how many are at each level."""
    pool = _pools(server)
    pool(name).init()
    books = Books(name, pool(name))
    books.standing()
    print("begin", flush=True)
    for line in sys.stdin:
        books.dun(date.fromisoformat(line.strip()))
        print(f"end {' '.join(map(str, books.standing()))}", flush=True)


def _pools(server: str) -> Any:
    config.set("database", "uri", server)
    from trytond.pool import Pool  # noqa: PLC0415  # reads its configuration on import

    Pool.start()
    return Pool


def _create(name: str, pool: Any) -> None:
    """Create the database's tables and activate the module."""
    from trytond import backend  # noqa: PLC0415  # reads its configuration on import
    from trytond.transaction import Transaction  # noqa: PLC0415  # the same

    backend.Database(name).init()
    pool(name).init(update=["res", "ir"], lang=["en"])
    with Transaction().start(name, 0) as transaction:
        user, module = pool(name).get("res.user"), pool(name).get("ir.module")
        [clerk] = user.create([{"login": "clerk", "name": "Clerk", "administrator": True}])
        users = user.__table__()
        transaction.connection.cursor().execute(*users.update([users.id], [CLERK], where=users.id == clerk.id))
        module.update_list()
        module.activate(module.search([("name", "=", "account_dunning")]))
    pool(name).init(update=["account_dunning"], lang=["en"])


class Books:
    """The books of one company."""

    def __init__(self, name: str, pool: Any) -> None:
        self.name, self.pool = name, pool
        self.company, self.period, self.procedure = 0, 0, 0
        [*companies] = self._do(lambda: self.pool.get("company.company").search([]))
        self.company = companies[0].id if companies else 0

    def open(self, today: date) -> None:
        """Create the company, chart of accounts, fiscal year and procedure."""
        self.company = self._do(self._found)
        self._do(lambda: self._begin(today - timedelta(days=1)))

    def owe(self, numbers: range, today: date) -> None:
        """Make so many parties owe something since yesterday."""
        self._do(lambda: self._book(numbers, today - timedelta(days=1)))

    def dun(self, today: date) -> None:
        """Make the dunnings of a day, raise others to their next level, and mark all of these as done."""
        self._do(lambda: self._dun(today))

    def standing(self) -> list[int]:
        """Return how many finished dunnings are at each level."""
        waiting = [("state", "=", "waiting")]
        search = self.pool.get("account.dunning").search
        return list(self._do(lambda: [search([*waiting, ("level.overdue", "=", timedelta(days=days))], count=True) for days in LEVELS]))

    def _do(self, work: Callable[[], Any]) -> Any:
        """Do something in a transaction, restarted if it needs another lock first."""
        from trytond.transaction import Transaction, TransactionError  # noqa: PLC0415  # as above

        extras: dict[str, Any] = {}
        context = {"company": self.company, "companies": [self.company]} if self.company else {}
        while True:
            with Transaction().start(self.name, CLERK, context=context, **extras) as transaction:
                try:
                    return work()
                except TransactionError as error:
                    transaction.rollback()
                    error.fix(extras)

    def _found(self) -> int:
        from trytond.modules.account.tests import create_chart  # noqa: PLC0415  # needs the pool
        from trytond.modules.company.tests import create_company, set_company  # noqa: PLC0415  # the same

        company = create_company()
        with set_company(company):
            create_chart(company)
        return int(company.id)

    def _begin(self, yesterday: date) -> None:
        from trytond.modules.account.tests import get_fiscalyear  # noqa: PLC0415  # as above

        company = self.pool.get("company.company")(self.company)
        year = get_fiscalyear(company, yesterday)
        year.save()
        self.pool.get("account.fiscalyear").create_period([year])
        self.period = self.pool.get("account.period").find(company, date=yesterday).id
        procedure = self.pool.get("account.dunning.procedure")(name="bench")
        level = self.pool.get("account.dunning.level")
        procedure.levels = [level(sequence=n, overdue=timedelta(days=days)) for n, days in enumerate(LEVELS)]
        procedure.save()
        self.procedure = procedure.id

    def _book(self, numbers: range, yesterday: date) -> None:
        [journal] = self.pool.get("account.journal").search([("code", "=", "REV")])
        receivable, revenue = (self._account(kind) for kind in ("receivable", "revenue"))
        parties = self.pool.get("party.party").create([{"name": f"b{n}", "dunning_procedure": self.procedure} for n in numbers])
        self.pool.get("account.move").create(
            [
                {
                    "period": self.period, "journal": journal.id, "date": yesterday, "company": self.company,
                    "lines": [("create", [
                        {"account": revenue.id, "credit": Decimal(100)},
                        {"account": receivable.id, "debit": Decimal(100), "party": party.id, "maturity_date": yesterday},
                    ])],
                }
                for party in parties
            ]
        )  # fmt: skip

    def _account(self, kind: str) -> Any:
        found = self.pool.get("account.account").search(
            [(f"type.{kind}", "=", True), ("company", "=", self.company), ("closed", "!=", True)], limit=1
        )
        return found[0]

    def _dun(self, today: date) -> None:
        dunning = self.pool.get("account.dunning")
        dunning.generate_dunnings(date=today)
        dunning.process(dunning.search([("state", "=", "draft")]))


if __name__ == "__main__":
    if len(sys.argv) > 3:
        fill(sys.argv[1], sys.argv[2], int(sys.argv[3]), date.fromisoformat(sys.argv[4]))
    else:
        run(sys.argv[1], sys.argv[2])
