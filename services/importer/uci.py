"""`dunwell import uci`: 30,000 real credit-card accounts as borrowers, loans and repayments.

Pure but for `read`: the same accounts and the same `ends_on` give the same events, so that importing twice changes nothing.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from services.importer.uci_accounts import Account, RowError, read
from services.importer.uci_ledger import FIRST, LAST, MINIMUM_AMOUNT, MINIMUM_PERCENT, Asked, Ledger, Paid, rebuild

__all__ = ["ASSUMPTIONS", "Account", "Event", "RowError", "events", "read", "timeline"]

Event = dict[str, Any]

SOURCE = "/import/uci-credit-card"
PRODUCT = "uci-credit-card"
ZONE = ZoneInfo("Asia/Taipei")
MINOR = 100
CHANNELS = ("sms", "email", "push")
PHONES = 1000
SPREAD_DAYS = 27
"""Due dates differ by at most this, less than the shortest month: every earlier instalment is due before the history ends."""
EARLY_DAYS = 7
LATE_DAYS = 20
OPENED_BEFORE_FIRST_DUE = timedelta(days=35)

ASSUMPTIONS = (
    (
        "The data hold amounts, payments and repayment status by month, nothing about a person: names, phone numbers, e-mail addresses, "
        "push tokens, locales, consents and jurisdiction are made up."
    ),
    (
        'Names are "Account 123"; the locale is zh for one half and en for the other; the time zone is Asia/Taipei for all; '
        "the jurisdiction is the example pack ZZ."
    ),
    (
        f"Phone numbers are +44 7700 900000 to 900999, which Ofcom reserves for drama: {PHONES} numbers, so that in the whole file about "
        "30 accounts share one. E-mail addresses are at example.org; push tokens are example-push-123."
    ),
    "Every borrower has consented to dunning by SMS, e-mail and push (evidence: example).",
    (
        "Months are moved so that the history ends the day before the given date; April to September 2005 become the last months before "
        f"it. Due days are spread over {SPREAD_DAYS} days by account; the September statement falls due on that date or up to "
        f"{SPREAD_DAYS - 1} days after it."
    ),
    (
        "Every statement is one instalment, due a month after the statement before it, and stands in the loan's first schedule as "
        "principal: no interest, fees or penalties. The loan is opened 35 days before its first due date."
    ),
    (
        "The payment booked in the month after a statement answers that statement, and so does the status of the statement's month: of "
        "accounts that go from status 0 to 2, nine in ten paid nothing in the month after. Status 2 is read as one instalment missed, "
        "3 as two, and so on; 1, 0, -1 and -2 as none. The status of September (X6) and the outcome (Y) are not used."
    ),
    "What is met stays met: a status that jumps by more months than have passed counts as one more instalment missed a month.",
    (
        "The minimum due is not in the data. An instalment that was met is as large as what was paid for it (several met at once share "
        f"the payment); one still open asks for {MINIMUM_PERCENT} % of its statement's balance, at least NT${MINIMUM_AMOUNT:,}, at most "
        "the balance, on top of what was paid towards it. Statements with nothing due and nothing paid bring no instalment."
    ),
    "Instalments missed before April take the April balance, since earlier statements are not in the data.",
    (
        f"The day of a payment is not in the data: an account without arrears pays up to {EARLY_DAYS - 1} days before the due date or on "
        f"it, one with arrears 1 to {LATE_DAYS} days after it, at an hour between 09:00 and 20:59."
    ),
    "Accounts with no instalment at all bring a borrower and no loan.",
    (
        "Amounts are in TWD with two decimals (NT$1 = 100). The credit limit is kept as an attribute of the loan; sex, education, "
        "marriage and age are left out."
    ),
    "Ids depend on the account alone: importing again for the same date changes nothing, for another date it conflicts.",
)


def events(rows: Iterable[Account], *, ends_on: date) -> Iterator[Event]:
    """Yield the events of one account after the other, each account's in the order of their time, all before ends_on."""
    for account in rows:
        ledger = rebuild(account)
        opened_on = _opened_on(account, ledger, ends_on)
        yield from _borrower(account, opened_on)
        if ledger.asked:
            yield _disbursed(account, ledger, opened_on, ends_on)
            yield from _repayments(account, ledger, ends_on)


def timeline(rows: Iterable[Account], ends_on: date) -> Iterator[Event]:
    """Yield the events of all accounts in the order of their time; holds them all in memory (360 MB for the whole file)."""
    yield from sorted(events(rows, ends_on=ends_on), key=lambda event: str(event["time"]))


def _borrower(account: Account, opened_on: date) -> Iterator[Event]:
    who = _borrower_id(account)
    opened = datetime.combine(opened_on, time(9), ZONE)
    yield _event(
        f"uci-{account.number}-borrower",
        "wallet.borrower.updated.v1",
        opened,
        {
            "borrower_id": who,
            "name": f"Account {account.number}",
            "locale": ("zh", "en")[_mark(account) % 2],
            "timezone": ZONE.key,
            "jurisdictions": ["ZZ"],
            "addresses": [{"channel": channel, "address": address} for channel, address in _addresses(account)],
        },
    )
    for second, channel in enumerate(CHANNELS, start=1):
        at = opened + timedelta(seconds=second)
        consent = {"channel": channel, "purpose": "dunning", "granted": True, "at": at.isoformat(), "evidence": "example"}
        yield _event(f"uci-{account.number}-consent-{channel}", "wallet.borrower.consent.v1", at, {"borrower_id": who, **consent})


def _addresses(account: Account) -> Iterator[tuple[str, str]]:
    yield "sms", f"+447700900{_mark(account) % PHONES:03}"
    yield "email", f"account-{account.number}@example.org"
    yield "push", f"example-push-{account.number}"


def _disbursed(account: Account, ledger: Ledger, opened_on: date, ends_on: date) -> Event:
    return _event(
        f"uci-{account.number}-loan",
        "wallet.loan.disbursed.v1",
        datetime.combine(opened_on, time(9, 1), ZONE),
        {
            "loan_id": _loan_id(account),
            "borrower_id": _borrower_id(account),
            "product": PRODUCT,
            "currency": "TWD",
            "disbursed_on": opened_on.isoformat(),
            "timezone": ZONE.key,
            "jurisdictions": ["ZZ"],
            "schedule": [_instalment(account, n, asked, ends_on) for n, asked in enumerate(ledger.asked, start=1)],
            "attributes": {"credit_limit": account.limit * MINOR},
        },
    )


def _instalment(account: Account, n: int, asked: Asked, ends_on: date) -> dict[str, Any]:
    return {"n": n, "due_on": _due_on(account, asked.statement, ends_on).isoformat(), "principal": asked.amount * MINOR}


def _repayments(account: Account, ledger: Ledger, ends_on: date) -> Iterator[Event]:
    for paid in ledger.paid:
        month = paid.statement - FIRST + 2  # 1 is April's payment, which answers March
        at = _paid_at(account, paid, ends_on)
        yield _event(
            f"uci-{account.number}-repayment-{month}",
            "wallet.repayment.received.v1",
            at,
            {
                "repayment_id": f"uci-r-{account.number}-{month}",
                "loan_id": _loan_id(account),
                "amount": paid.amount * MINOR,
                "paid_at": at.isoformat(),
            },
        )


def _paid_at(account: Account, paid: Paid, ends_on: date) -> datetime:
    due = _due_on(account, paid.statement, ends_on)
    vary = _mark(account) * 7 + paid.statement * 5
    days_left = (ends_on - due).days - 1
    days = 1 + vary % min(LATE_DAYS, days_left) if paid.behind else -(vary % EARLY_DAYS)
    return datetime.combine(due + timedelta(days=days), time(9 + vary % 12, vary % 60), ZONE)


def _due_on(account: Account, statement: int, ends_on: date) -> date:
    """Return the same day of the month in every month, or the month's last day."""
    newest = ends_on + timedelta(days=_mark(account) % SPREAD_DAYS)
    year, month = divmod(newest.year * 12 + newest.month - 1 - (LAST - statement), 12)
    return date(year, month + 1, min(newest.day, monthrange(year, month + 1)[1]))


def _opened_on(account: Account, ledger: Ledger, ends_on: date) -> date:
    first = ledger.asked[0].statement if ledger.asked else FIRST
    return _due_on(account, first, ends_on) - OPENED_BEFORE_FIRST_DUE


def _mark(account: Account) -> int:
    """Return a number that spreads made-up values: neighbours differ, and so do every sixtieth."""
    return account.number % 60 * 17 + account.number // 60


def _borrower_id(account: Account) -> str:
    return f"uci-b-{account.number}"


def _loan_id(account: Account) -> str:
    return f"uci-l-{account.number}"


def _event(identity: str, kind: str, at: datetime, data: dict[str, Any]) -> Event:
    subject = data["loan_id"] if "loan_id" in data else data["borrower_id"]
    return {"specversion": "1.0", "id": identity, "source": SOURCE, "type": kind, "time": at.isoformat(), "subject": subject, "data": data}
