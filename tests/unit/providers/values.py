"""Values that the adapters' tests share."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec

from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.receipts import Receipt
from services.notifier.providers.wire import Account, Adapter, Answer, Callback, Denied, Fetch

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
CALLBACK = "https://dunning.example/v1/providers/main/s3cret/receipts"


def a_message(channel: str = "sms", to: str = "+12025550123", **changes: Any) -> OutgoingMessage:
    message = OutgoingMessage(
        id="m-0123456789abcdefghjk", tenant="default", task_id="t", borrower_id="b", channel=channel, to=to, subject=None,
        body="Your instalment of USD 120.50 is overdue.", deadline=NOW + timedelta(hours=3),
    )  # fmt: skip
    return replace(message, **changes)


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
