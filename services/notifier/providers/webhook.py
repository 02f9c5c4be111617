"""The wallet's own in-app messages: a webhook following the Standard Webhooks specification, to a public https address."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit

import msgspec

from libs.common import ids
from libs.common.webhooks.signing import SecretError, signed
from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.results import Accepted, Result
from services.notifier.providers.codes import Codes
from services.notifier.providers.wire import Account, Adapter, Answer, HttpCall, UnfitError, json_object, still_wanted, text

CODES = Codes.load("webhook")
TYPE = "contact.message"


def request(message: OutgoingMessage, account: Account, now: datetime) -> HttpCall:
    """Return the signed call; its id is that of the contact on this channel, the same for every retry."""
    url = account.settings["url"]
    if urlsplit(url).scheme != "https":
        raise UnfitError("not_https", "config")
    still_wanted(message, now)
    body = msgspec.json.encode(
        {
            "type": TYPE,
            "timestamp": now,
            "data": {
                "message_id": message.id, "task_id": message.task_id, "borrower_id": message.borrower_id, "channel": message.channel,
                "to": message.to, "subject": message.subject, "body": message.body, "expires_at": message.deadline,
                "link": message.link,
            },
        }
    )  # fmt: skip
    about = ids.derived("w", message.tenant, message.task_id, message.channel)
    signature = _signed(account.credentials["secret"], about, int(now.timestamp()), body)
    headers = {"content-type": "application/json", **signature}
    return HttpCall(url, headers, body)


def read(answer: Answer) -> Result:
    """Return what a status means; an `id` in the body is the wallet's name for the message."""
    if 200 <= answer.status < 300:
        return Accepted(text(json_object(answer.body).get("id")) or "")
    wait = answer.headers.get("retry-after")
    return CODES.result(answer.status, "503 retry-after" if answer.status == 503 and wait else None, retry_after=wait)


def _signed(secret: str, about: str, at: int, body: bytes) -> dict[str, str]:
    try:
        return signed(secret, about, at, body)
    except SecretError:
        raise UnfitError("secret_unreadable", "config") from None


ADAPTER = Adapter(
    kind="webhook", channels=("inbox",), request=request, read=read, credentials=("secret",), settings=("url",), public_only=True
)  # fmt: skip
