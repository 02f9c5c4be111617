"""MessageBird SMS API. Our id is the reference, which its reports return."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

import msgspec

from services.notifier.domain.asking import Question, Search
from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.receipts import Receipt, Standing
from services.notifier.domain.replies import Inbound
from services.notifier.domain.results import Accepted, Result, Unknown
from services.notifier.providers import jws
from services.notifier.providers.codes import Codes
from services.notifier.providers.wire import (
    Account,
    Adapter,
    Answer,
    Callback,
    Denied,
    HttpCall,
    LookUp,
    e164,
    form,
    json_object,
    moment,
    seconds_left,
    sender_id,
    text,
)

CODES = Codes.load("messagebird")
BASE = "https://rest.messagebird.com"
LONGEST_S = 604_800
PAGE = 100
STANDINGS = MappingProxyType(
    {
        "scheduled": Standing.ACCEPTED,
        "buffered": Standing.ACCEPTED,
        "sent": Standing.SENT,
        "delivered": Standing.DELIVERED,
        "expired": Standing.FAILED,
        "delivery_failed": Standing.FAILED,
    }
)


def request(message: OutgoingMessage, account: Account, now: datetime) -> HttpCall:
    """Return the call that sends a text to one number."""
    body: dict[str, Any] = {
        "originator": sender_id(account.settings["from"]),
        "recipients": [e164(message.to)[1:]],
        "body": message.body,
        "reference": message.id,
        "datacoding": "auto",
    }
    left = seconds_left(message, now, least=1, most=LONGEST_S)
    if left is not None:
        body["validity"] = left
    if account.callback:
        body["reportUrl"] = account.callback
    headers = {**_shown(account), "content-type": "application/json"}
    return HttpCall(f"{account.base_url or BASE}/messages", headers, msgspec.json.encode(body))


def read(answer: Answer) -> Result:
    """Return what an answer says: a message with its id, or the first of its errors."""
    said = json_object(answer.body)
    if 200 <= answer.status < 300:
        ref = text(said.get("id"))
        return Accepted(ref) if ref else Unknown("answer_unreadable")
    errors = said.get("errors")
    codes = [text(error.get("code")) for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    return CODES.result(answer.status, *codes, retry_after=answer.headers.get("retry-after"))


def search(question: Question, account: Account, now: datetime) -> HttpCall:  # noqa: ARG001  # every kind's shape
    """Return the call that lists what was sent to a number around the time of the attempt."""
    asked = {
        "recipient": e164(question.to)[1:], "direction": "mt", "limit": str(PAGE), "from": question.since.isoformat(timespec="seconds"),
        "until": question.until.isoformat(timespec="seconds"),
    }  # fmt: skip
    return HttpCall(f"{account.base_url or BASE}/messages?{urlencode(asked)}", _shown(account), b"", "GET")


def searched(answer: Answer, question: Question, account: Account) -> Search | None:  # noqa: ARG001  # every kind's shape
    """Return the messages with our id."""
    said = json_object(answer.body)
    items = said.get("items")
    if not isinstance(items, list):
        return None
    found = [_listed(one) for one in items if isinstance(one, dict) and one.get("reference") == question.message_id]
    return Search(tuple(found), said.get("totalCount") == len(items))


def _listed(said: dict[str, Any]) -> Receipt:
    recipients = said.get("recipients")
    items = recipients.get("items") if isinstance(recipients, dict) else None
    first: dict[str, Any] = items[0] if isinstance(items, list) and items and isinstance(items[0], dict) else {}
    status = str(first.get("status"))
    standing = STANDINGS.get(status, Standing.ACCEPTED)
    failed, code = standing is Standing.FAILED, text(first.get("statusErrorCode"))
    return Receipt(
        standing, message_id=text(said.get("reference")), provider_ref=text(said.get("id")), code=code or status if failed else None,
        fault=CODES.fault(code, status) if failed else "none", at=moment(first.get("statusDatetime")),
    )  # fmt: skip


def _shown(account: Account) -> dict[str, str]:
    """Return the headers of every call."""
    return {"authorization": f"AccessKey {account.credentials['access_key']}", "accept": "application/json"}


def receipts(callback: Callback, account: Account, now: datetime) -> Sequence[Receipt] | Denied:
    """Return what a status report says, in its URL parameters; signed if the account has the signing key."""
    key = account.credentials.get("signing_key")
    if key and not _is_signed(callback, key, now):
        return Denied("signature")
    said = callback.query
    standing = STANDINGS.get(said.get("status", ""))
    if standing is None:
        return ()
    code = text(said.get("statusErrorCode")) if standing is Standing.FAILED else None
    return (
        Receipt(
            standing, message_id=text(said.get("reference")), provider_ref=text(said.get("id")), address=text(said.get("recipient")),
            at=moment(said.get("statusDatetime")), code=code or (said["status"] if standing is Standing.FAILED else None),
            fault=CODES.fault(code, said["status"]) if standing is Standing.FAILED else "none",
        ),
    )  # fmt: skip


def inbound(callback: Callback, account: Account, now: datetime) -> Sequence[Inbound] | Denied:
    """Return what somebody wrote, in a form, in JSON or in the URL, depending on the number's flow."""
    key = account.credentials.get("signing_key")
    if key and not _is_signed(callback, key, now):
        return Denied("signature")
    is_json = callback.headers.get("content-type", "").startswith("application/json")
    said = {**callback.query, **(json_object(callback.body) if is_json else form(callback.body))}
    ref, sender, body = (text(said.get(name)) for name in ("id", "originator", "body"))
    if ref is None or sender is None:
        return ()
    return (Inbound(ref, "sms", sender, body or "", at=moment(said.get("createdDatetime")), signed=key is not None),)


def _is_signed(callback: Callback, key: str, now: datetime) -> bool:
    """Return whether a report's token is for exactly this URL and body."""
    claims = jws.claims_of(callback.headers.get("messagebird-signature-jwt", ""), key, now, issuer="MessageBird")
    if claims is None:
        return False
    hashes = {"url_hash": callback.url.encode()} | ({"payload_hash": callback.body} if callback.body else {})
    return all(hmac.compare_digest(hashlib.sha256(part).hexdigest(), str(claims.get(name))) for name, part in hashes.items())


ADAPTER = Adapter(
    kind="messagebird", channels=("sms",), request=request, read=read, receipts=receipts, inbound=inbound,
    look_up=LookUp(search, searched, absent_after=timedelta(minutes=30)),
    taken=(b"OK", "text/plain"), credentials=("access_key",), settings=("from",), optional=("signing_key",), signing=("signing_key",),
)  # fmt: skip
