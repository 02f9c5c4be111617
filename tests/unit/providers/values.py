"""Values shared by the adapters' tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec

from services.notifier.domain.message import DebtLine, Draft, Lender, Making, OutgoingMessage, Split, TextRef
from services.notifier.domain.receipts import Receipt
from services.notifier.providers.wire import Account, Adapter, Answer, Callback, Denied, Fetch

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
CALLBACK = "https://dunning.example/v1/providers/main/s3cret/receipts"


BODY = "Your instalment of USD 120.50 is overdue."
TEMPLATES = {
    "aliyun_sms": '{"gentle": {"en": {"code": "SMS_1", "params": {"name": "name|you", "text": "variables.text|-"}}}}',
    "tencent_sms": '{"gentle": {"en": {"code": "1234567", "params": ["name|you", "variables.text|-"]}}}',
}
"""Approved texts for these tests' message, with a placeholder for any text."""


def a_making(**changes: Any) -> Making:
    """What a text was made from, with values that a test changes; the name is not part of the draft."""
    name = changes.pop("name", "Li Wei")
    ref = changes.pop("ref", TextRef("gentle", "en", "sms", 0))
    debts = (DebtLine("L1", "cash-loan", "USD 100.00", "2026-11-02"), DebtLine("L2", "card", "USD 20.50", "2026-11-01"))
    draft = Draft(Lender("Lender"), debts, "USD 120.50", Split("USD 100.00", "USD 20.00", "USD 0.50", "USD 0.00"))
    return Making(ref, msgspec.structs.replace(draft, **changes), name)


def a_message(channel: str = "sms", to: str = "+12025550123", **changes: Any) -> OutgoingMessage:
    message = OutgoingMessage(
        id="m-0123456789abcdefghjk", tenant="default", task_id="t", borrower_id="b", channel=channel, to=to, subject=None,
        body=BODY, deadline=NOW + timedelta(hours=3),
    )  # fmt: skip
    said = changes.get("body", BODY)
    return replace(message, **{"making": a_making(variables={"text": said}), **changes})


def an_account(kind: str, credentials: dict[str, str], settings: dict[str, str] | None = None, **changes: Any) -> Account:
    account = Account("main", kind, credentials, settings or {}, callback=CALLBACK)
    return replace(account, **changes)


def an_answer(status: int, body: Any = b"", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, named, body if isinstance(body, bytes) else msgspec.json.encode(body))


def a_form(url: str, fields: dict[str, str], **headers: str) -> Callback:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Callback("POST", url, named, urlencode(fields).encode())


def told(adapter: Adapter, callback: Callback, account: Account) -> list[Receipt]:
    """Return the receipts of a callback that is believed."""
    assert adapter.receipts is not None
    found = adapter.receipts(callback, account, NOW)
    assert not isinstance(found, Denied | Fetch), found
    return list(found)


def denied(adapter: Adapter, callback: Callback, account: Account) -> str | None:
    """Return why a callback is not believed."""
    assert adapter.receipts is not None
    found = adapter.receipts(callback, account, NOW)
    return found.why if isinstance(found, Denied) else None
