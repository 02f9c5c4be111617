"""Twilio Programmable Messaging: SMS.

It has no idempotency key and takes no reference of ours, so our id is in the URL of the status callback.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from services.notifier.domain.asking import Question, Search
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
    LookUp,
    basic,
    e164,
    form,
    json_object,
    seconds_left,
    text,
)

CODES = Codes.load("twilio")
BASE = "https://api.twilio.com"
LONGEST_S = 36_000
PAGE = 100
OURS = "m"
"""The callback parameter that holds our id."""
STANDINGS = MappingProxyType(
    {
        "accepted": Standing.ACCEPTED,
        "scheduled": Standing.ACCEPTED,
        "queued": Standing.ACCEPTED,
        "sending": Standing.ACCEPTED,
        "sent": Standing.SENT,
        "partially_delivered": Standing.SENT,
        "delivered": Standing.DELIVERED,
        "read": Standing.DELIVERED,
        "undelivered": Standing.FAILED,
        "failed": Standing.FAILED,
        "canceled": Standing.FAILED,
    }
)

WISHES = MappingProxyType({"STOP": Wish.STOP, "START": Wish.START, "HELP": Wish.HELP})


def request(message: OutgoingMessage, account: Account, now: datetime) -> HttpCall:
    """Return the call that creates a message; the sender is a number or a messaging service (`MG...`)."""
    sender = account.settings["from"]
    fields = {"To": e164(message.to), "MessagingServiceSid" if sender.startswith("MG") else "From": sender, "Body": message.body}
    left = seconds_left(message, now, least=1, most=LONGEST_S)
    if left is not None:
        fields["ValidityPeriod"] = str(left)
    if account.callback:
        fields["StatusCallback"] = f"{account.callback}?{urlencode({OURS: message.id})}"
    headers = {**_shown(account), "content-type": "application/x-www-form-urlencoded"}
    return HttpCall(_messages(account), headers, urlencode(fields).encode())


def read(answer: Answer) -> Result:
    """Return what an answer says: a created message, or a code."""
    said = json_object(answer.body)
    if 200 <= answer.status < 300:
        sid = text(said.get("sid"))
        if sid is None:
            return Unknown("answer_unreadable")
        if STANDINGS.get(str(said.get("status"))) is Standing.FAILED:
            return CODES.result(400, text(said.get("error_code")) or "failed")
        return Accepted(sid)
    return CODES.result(answer.status, text(said.get("code")), retry_after=answer.headers.get("retry-after"))


def search(question: Question, account: Account, now: datetime) -> HttpCall:  # noqa: ARG001  # every kind's shape
    """Return the call that lists the messages to a number, newest first; queued messages have no sending date to search by."""
    asked = {"To": e164(question.to), "PageSize": str(PAGE)}
    return HttpCall(f"{_messages(account)}?{urlencode(asked)}", _shown(account), b"", "GET")


def searched(answer: Answer, question: Question, account: Account) -> Search | None:
    """Return the messages from our sender created around the time of the attempt; they carry no id of ours."""
    said = json_object(answer.body)
    messages = said.get("messages")
    if not isinstance(messages, list):
        return None
    dated = [(one, _dated(one)) for one in messages if isinstance(one, dict)]
    whole = said.get("next_page_uri") is None or any(at is not None and at < question.since for _, at in dated)
    during = [(one, at) for one, at in dated if at is None or question.since <= at <= question.until]
    return Search(tuple(_listed(one) for one, _ in during if _is_sent_by(one, account)), whole)


def _listed(said: dict[str, Any]) -> Receipt:
    standing = STANDINGS.get(str(said.get("status")), Standing.ACCEPTED)
    failed, code = standing is Standing.FAILED, text(said.get("error_code"))
    return Receipt(
        standing, provider_ref=text(said.get("sid")), code=code or "failed" if failed else None,
        fault=CODES.fault(code) if failed else "none",
    )  # fmt: skip


def _is_sent_by(said: dict[str, Any], account: Account) -> bool:
    sender = account.settings["from"]
    return not str(said.get("direction")).startswith("inbound") and sender in {said.get("from"), said.get("messaging_service_sid")}


def _dated(said: dict[str, Any]) -> datetime | None:
    try:
        return parsedate_to_datetime(str(said.get("date_created")))
    except ValueError:
        return None


def _messages(account: Account) -> str:
    return f"{account.base_url or BASE}/2010-04-01/Accounts/{quote(account.credentials['account_sid'], safe='')}/Messages.json"


def _shown(account: Account) -> dict[str, str]:
    """Return the headers of every call."""
    own = account.credentials
    shown = basic(own.get("api_key") or own["account_sid"], own.get("api_secret") or own["auth_token"])
    return {"authorization": shown, "accept": "application/json"}


def receipts(callback: Callback, account: Account, now: datetime) -> Sequence[Receipt] | Denied:  # noqa: ARG001  # every kind's shape
    """Return what a status callback says, if it is signed with the account's token."""
    if not _is_signed(callback, account):
        return Denied("signature")
    said = form(callback.body)
    code = text(said.get("ErrorCode"))
    standing = STANDINGS.get(said.get("MessageStatus", ""))
    if standing is None:
        return ()
    return (
        Receipt(
            standing, message_id=callback.query.get(OURS), provider_ref=text(said.get("MessageSid")), address=text(said.get("To")),
            at=_done(said.get("RawDlrDoneDate")), code=code, fault=CODES.fault(code) if standing is Standing.FAILED else "none",
        ),
    )  # fmt: skip


def inbound(callback: Callback, account: Account, now: datetime) -> Sequence[Inbound] | Denied:  # noqa: ARG001  # every kind's shape
    """Return what somebody wrote; an opt-out that Twilio recognised (`OptOutType`) has also been confirmed by it."""
    if not _is_signed(callback, account):
        return Denied("signature")
    said = form(callback.body)
    ref, sender = text(said.get("MessageSid")), text(said.get("From"))
    if ref is None or sender is None:
        return ()
    word = said.get("OptOutType", "").upper()
    return (Inbound(ref, "sms", sender, said.get("Body", ""), wish=WISHES.get(word), answered=word in WISHES),)


def _is_signed(callback: Callback, account: Account) -> bool:
    given, token = callback.headers.get("x-twilio-signature", "").encode(), account.credentials["auth_token"]
    return any(hmac.compare_digest(signature(url, callback.body, token).encode(), given) for url in _spellings(callback.url))


def _spellings(url: str) -> tuple[str, str]:
    """Return a URL with and without its port: Twilio signs either."""
    split = urlsplit(url)
    host, port = split.netloc.removesuffix(f":{split.port}"), split.port or (443 if split.scheme == "https" else 80)
    head, _, tail = url.partition(split.netloc)
    return f"{head}{host}{tail}", f"{head}{host}:{port}{tail}"


def signature(url: str, body: bytes, token: str) -> str:
    """Return Twilio's signature for a form posted to a URL."""
    fields = sorted(set(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)))
    signed = url + "".join(name + value for name, value in fields)
    return base64.b64encode(hmac.digest(token.encode(), signed.encode(), hashlib.sha1)).decode()


def _done(written: str | None) -> datetime | None:
    try:
        return datetime.strptime(written or "", "%y%m%d%H%M").replace(tzinfo=UTC)
    except ValueError:
        return None


ADAPTER = Adapter(
    kind="twilio", channels=("sms",), request=request, read=read, receipts=receipts, inbound=inbound,
    look_up=LookUp(search, searched, absent_after=timedelta(minutes=30)),
    taken=(b'<?xml version="1.0" encoding="UTF-8"?><Response/>', "text/xml"), credentials=("account_sid", "auth_token"), settings=("from",),
    optional=("api_key", "api_secret"), signing=("auth_token",),
)  # fmt: skip
