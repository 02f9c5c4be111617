"""The events to ingest, and what the ledger must say afterwards."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from libs.common.bus.ports import Message, partition_of
from libs.common.clock import WallClock
from libs.common.contracts.catalogue import LOAN_EVENTS_TOPIC

TENANT = "default"
SOURCE = "bench/wallet"
INSTALMENTS = 4
PRINCIPAL, INTEREST, PAID = 9_000, 1_000, 2_500
REPAYMENTS = 4

_encode = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True)
class Sent:
    """One event before it is written in a transport's form."""

    id: str
    type: str
    time: datetime
    loan_id: str
    data: dict[str, Any]

    @property
    def message(self) -> Message:
        """Return it in binary mode, on its loan's partition out of twelve."""
        headers = (
            ("ce_specversion", b"1.0"), ("ce_id", self.id.encode()), ("ce_source", SOURCE.encode()), ("ce_type", self.type.encode()),
            ("ce_time", self.time.isoformat().encode()), ("ce_subject", self.loan_id.encode()), ("content-type", b"application/json"),
        )  # fmt: skip
        value = _encode(self.data)
        return Message(LOAN_EVENTS_TOPIC.name, partition_of(TENANT, self.loan_id, PARTITIONS), self.loan_id.encode(), value, headers)

    @property
    def structured(self) -> bytes:
        """Return it as one JSON document."""
        head = {"specversion": "1.0", "id": self.id, "source": SOURCE, "type": self.type, "time": self.time, "subject": self.loan_id}
        return _encode({**head, "data": self.data})


PARTITIONS = 12


@dataclass
class Book:
    """Events in the order they are sent, and their totals."""

    events: list[Sent] = field(default_factory=list)
    loans: int = 0
    scheduled: int = 0
    paid: int = 0
    overdue_loans: int = 0

    @property
    def outstanding(self) -> int:
        """Return what is owed in the end."""
        return self.scheduled - self.paid

    @property
    def mean_bytes(self) -> float:
        """Return the mean length of the data."""
        return sum(len(_encode(sent.data)) for sent in self.events) / len(self.events)


def book(events: int, *, prefix: str = "L") -> Book:
    """Return disbursements, then four rounds of repayments, each in a different order; every second loan is overdue."""
    made, now = Book(loans=events // (1 + REPAYMENTS)), WallClock().now().replace(microsecond=0)
    order = random.Random(7)
    loans = list(range(made.loans))
    for n in loans:
        made.events.append(disbursed(f"{prefix}{n:06d}", n, now))
        made.scheduled += INSTALMENTS * (PRINCIPAL + INTEREST)
        made.overdue_loans += n % 2
    for turn in range(REPAYMENTS):
        order.shuffle(loans)
        for n in loans:
            made.events.append(repaid(f"{prefix}{n:06d}", turn, now))
            made.paid += PAID
    return made


def disbursed(loan_id: str, n: int, now: datetime) -> Sent:
    """Return a loan of four instalments; with an odd number the first one fell due forty days ago."""
    first = -40 if n % 2 else 20
    days = [(now + timedelta(days=first + 30 * at)).date().isoformat() for at in range(INSTALMENTS)]
    data = {
        "loan_id": loan_id, "borrower_id": f"B-{loan_id}", "product": "cash-loan", "currency": "EUR",
        "disbursed_on": (now - timedelta(days=70)).date().isoformat(), "timezone": "Europe/Berlin", "jurisdictions": ["DE"],
        "schedule": [
            {"n": at + 1, "due_on": day, "principal": PRINCIPAL, "interest": INTEREST} for at, day in enumerate(days)
        ],
        "attributes": {"branch": "web", "campaign": "autumn"},
    }  # fmt: skip
    return Sent(f"{loan_id}-d", "wallet.loan.disbursed.v1", now - timedelta(days=70), loan_id, data)


def repaid(loan_id: str, turn: int, now: datetime) -> Sent:
    """Return a payment with a wallet's own additions: fields that are not in the contract."""
    at = now - timedelta(days=max(1, REPAYMENTS - turn))
    data = {
        "loan_id": loan_id, "repayment_id": f"{loan_id}-r{turn}", "amount": PAID, "paid_at": at.isoformat(), "kind": "repayment",
        "wallet": {
            "account": f"DE00 5001 0517 {loan_id} 07", "entry": f"{turn:04d}-{loan_id}-booking", "method": "direct_debit",
            "settled_by": "clearing-house-batch-17", "reference": f"instalment of {loan_id}, thank you for your payment",
            "balance_before": 123_456, "balance_after": 120_956, "fee": 0, "device": "8c1f0d52-7f40-4a53-93f6-0e1c35a3f1b2",
        },
    }  # fmt: skip
    return Sent(f"{loan_id}-r{turn}", "wallet.repayment.received.v1", at, loan_id, data)
