"""Africa's Talking: SMS. The answer is HTTP 201 whatever becomes of the message, with a code for each recipient.

It takes no reference of ours, so its reports are matched by its own id; nor does it let a message expire.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.receipts import Receipt, Standing
from services.notifier.domain.replies import Inbound
from services.notifier.domain.results import Accepted, Result, Unknown
from services.notifier.domain.wishes import Wish
from services.notifier.providers.codes import Codes
from services.notifier.providers.wire import (
    Account,
    Adapter,
    Answer,
    Callback,
    Denied,
    HttpCall,
    e164,
    form,
    json_object,
    moment,
    still_wanted,
    text,
)

CODES = Codes.load("africastalking")
BASE = "https://api.africastalking.com"
TAKEN = frozenset({"100", "101", "102"})
"""Processed, sent, queued."""
NO_ID = "None"
"""What it gives in place of an id for a recipient it refused."""
STANDINGS = MappingProxyType(
    {
        "Sent": Standing.SENT,
        "Submitted": Standing.SENT,
        "Buffered": Standing.SENT,
        "Success": Standing.DELIVERED,
        "Rejected": Standing.FAILED,
        "Failed": Standing.FAILED,
        "AbsentSubscriber": Standing.FAILED,
        "Expired": Standing.FAILED,
    }
)


def request(message: OutgoingMessage, account: Account, now: datetime) -> HttpCall:
    """Return the call that sends a text to one number."""
    still_wanted(message, now)
    fields = {"username": account.settings["username"], "to": e164(message.to), "message": message.body, "bulkSMSMode": "1"}
    if "from" in account.settings:
        fields["from"] = account.settings["from"]
    headers = {
        "apikey": account.credentials["api_key"],
        "content-type": "application/x-www-form-urlencoded",
        "accept": "application/json",
    }
    return HttpCall(f"{account.base_url or BASE}/version1/messaging", headers, urlencode(fields).encode())


def read(answer: Answer) -> Result:
    """Return what is said about the one recipient, or the word for why there is none."""
    if not 200 <= answer.status < 300:
        return CODES.result(answer.status, retry_after=answer.headers.get("retry-after"))
    said = json_object(answer.body).get("SMSMessageData")
    data: dict[str, Any] = said if isinstance(said, dict) else {}
    found = data.get("Recipients")
    if found == [] and text(data.get("Message")) in CODES.api:
        return CODES.result(answer.status, text(data.get("Message")))
    if not isinstance(found, list) or len(found) != 1 or not isinstance(found[0], dict):
        return Unknown("answer_unreadable")
    code, ref = text(found[0].get("statusCode")), text(found[0].get("messageId"))
    if code not in TAKEN:
        return CODES.result(answer.status, code)
    return Accepted(ref, parts=(ref,)) if ref and ref != NO_ID else Unknown("answer_unreadable")


def receipts(callback: Callback, account: Account, now: datetime) -> Sequence[Receipt] | Denied:  # noqa: ARG001  # every kind's shape
    """Return what a report says; it is not signed, so the secret in its URL has to do."""
    said = form(callback.body)
    status = said.get("status", "")
    standing = STANDINGS.get(status)
    if standing is None:
        return ()
    failed = standing is Standing.FAILED
    reason = text(said.get("failureReason"))
    return (
        Receipt(
            standing, provider_ref=text(said.get("id")), address=text(said.get("phoneNumber")), code=reason or status if failed else None,
            fault=CODES.fault(reason, status) if failed else "none",
        ),
    )  # fmt: skip


def inbound(callback: Callback, account: Account, now: datetime) -> Sequence[Inbound] | Denied:  # noqa: ARG001  # every kind's shape
    """Return what somebody wrote, or that they opted out of a sender's messages; an opt-out has no id, so at most one a minute is taken."""
    said = form(callback.body)
    ref, writer, phone = text(said.get("id")), text(said.get("from")), text(said.get("phoneNumber"))
    if ref and writer:
        return (Inbound(ref, "sms", writer, said.get("text", ""), at=moment(said.get("date")), signed=False),)
    if phone and "senderId" in said and "status" not in said:
        ref = hashlib.sha256(f"{phone} {said['senderId']} {now:%Y-%m-%dT%H:%M}".encode()).hexdigest()
        return (Inbound(ref, "sms", phone, "", signed=False, wish=Wish.STOP),)
    return ()


ADAPTER = Adapter(
    kind="africastalking", channels=("sms",), request=request, read=read, receipts=receipts, inbound=inbound,
    credentials=("api_key",), settings=("username",), optional=("from",),
)  # fmt: skip
