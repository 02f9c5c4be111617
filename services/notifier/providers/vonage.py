"""Vonage SMS API. Every answer is HTTP 200, with a status for each part of the message."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from services.notifier.domain.asking import Question, Search
from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.receipts import Receipt, Standing, of_whole
from services.notifier.domain.replies import Inbound
from services.notifier.domain.results import Accepted, Refused, Result, Unknown, name_of
from services.notifier.domain.segments import count_parts, is_gsm
from services.notifier.providers.codes import Codes
from services.notifier.providers.wire import (
    Account,
    Adapter,
    Answer,
    Callback,
    Denied,
    HttpCall,
    LookUp,
    UnfitError,
    basic,
    e164,
    form,
    json_object,
    moment,
    seconds_left,
    sender_id,
    text,
)

CODES = Codes.load("vonage")
BASE, REPORTS = "https://rest.nexmo.com", "https://api.nexmo.com"
SHORTEST_S, LONGEST_S = 20, 604_800
METHODS = ("md5hash", "md5", "sha1", "sha256", "sha512")
"""How an account may be set up to sign; all but the first are HMACs."""
STANDINGS = MappingProxyType(
    {
        "accepted": Standing.SENT,
        "buffered": Standing.SENT,
        "delivered": Standing.DELIVERED,
        "expired": Standing.FAILED,
        "failed": Standing.FAILED,
        "rejected": Standing.FAILED,
    }
)
"""`unknown` is missing because it says nothing."""
_COUNT = re.compile(r"[1-9][0-9]{0,2}")
RECORDED = MappingProxyType({**STANDINGS, "deleted": Standing.FAILED})
"""What a record of a message can say; its existence alone shows that the message was accepted."""


def request(message: OutgoingMessage, account: Account, now: datetime) -> HttpCall:
    """Return the call that sends a text, as unicode if it does not fit the GSM alphabet."""
    fields = {
        "api_key": account.credentials["api_key"],
        "api_secret": account.credentials["api_secret"],
        "from": sender_id(account.settings["from"]),
        "to": e164(message.to)[1:],
        "text": message.body,
        "type": "text" if is_gsm(message.body) else "unicode",
        "client-ref": _reference(message),
    }
    left = seconds_left(message, now, least=SHORTEST_S, most=LONGEST_S)
    if left is not None:
        fields["ttl"] = str(left * 1000)
    if account.callback:
        fields["callback"] = account.callback
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    return HttpCall(f"{account.base_url or BASE}/sms/json", headers, urlencode(fields).encode())


def read(answer: Answer) -> Result:
    """Return what all the parts come to: if only some were accepted, nobody can say what the person reads."""
    if answer.status != 200:
        return CODES.result(answer.status, retry_after=answer.headers.get("retry-after"))
    said = json_object(answer.body).get("messages")
    parts = [part for part in said if isinstance(part, dict)] if isinstance(said, list) else []
    refused = [_refusal(part) for part in parts if part.get("status") != "0"]
    if not parts or (refused and len(refused) < len(parts)):
        return Unknown("partial" if parts else "answer_unreadable")
    if refused:
        return next((one for one in refused if isinstance(one, Unknown)), refused[0])
    refs = tuple(ref for part in parts if (ref := text(part.get("message-id"))))
    if len(refs) < len(parts):
        return Unknown("answer_unreadable")
    return Accepted(name_of(refs), parts=refs if len(refs) > 1 else ())


def search(question: Question, account: Account, now: datetime) -> HttpCall:  # noqa: ARG001  # every kind's shape
    """Return the call that lists what was sent to a number around the time of the attempt; the end is exclusive."""
    own = account.credentials
    asked = {
        "account_id": own["api_key"], "product": "SMS", "direction": "outbound", "to": e164(question.to)[1:],
        "date_start": question.since.isoformat(timespec="seconds"),
        "date_end": (question.until + timedelta(seconds=1)).isoformat(timespec="seconds"),
    }  # fmt: skip
    headers = {"authorization": basic(own["api_key"], own["api_secret"]), "accept": "application/json"}
    return HttpCall(f"{account.base_url or REPORTS}/v2/reports/records?{urlencode(asked)}", headers, b"", "GET")


def searched(answer: Answer, question: Question, account: Account) -> Search | None:  # noqa: ARG001  # every kind's shape
    """Return the record with our id, or what its parts come to; absence proves nothing, as it is not documented how soon records appear."""
    records = json_object(answer.body).get("records")
    if not isinstance(records, list):
        return None
    mine = [_recorded(one) for one in records if isinstance(one, dict) and _referred(one.get("client_ref"))[0] == question.message_id]
    parts = max([len(mine), *(one.parts for one in mine)])
    whole = of_whole(question.message_id, parts, list(enumerate(mine))) if parts > 1 else None
    return Search((whole,) if whole else tuple(mine))


def _reference(message: OutgoingMessage) -> str:
    """Return what each receipt will carry back: our id, and the number of parts if there are several.

    A receipt may come before the answer that names the parts, or instead of it.
    """
    parts = count_parts(message.body)
    return message.id if parts == 1 else f"{message.id}.{parts}"


def _referred(written: object) -> tuple[str | None, int]:
    """Return our id and the number of parts from a reference."""
    said, _, parts = (text(written) or "").partition(".")
    return said or None, int(parts) if _COUNT.fullmatch(parts) else 1


def _recorded(said: dict[str, Any]) -> Receipt:
    standing, code = RECORDED.get(str(said.get("status")), Standing.ACCEPTED), text(said.get("error_code"))
    failed, (message_id, parts) = standing is Standing.FAILED, _referred(said.get("client_ref"))
    return Receipt(
        standing, message_id=message_id, provider_ref=text(said.get("message_id")), at=moment(said.get("date_finalized")),
        code=code or "failed" if failed else None, fault=CODES.fault(code) if failed else "none", parts=parts,
    )  # fmt: skip


def receipts(callback: Callback, account: Account, now: datetime) -> Sequence[Receipt] | Denied:  # noqa: ARG001  # every kind's shape
    """Return what a delivery receipt says; signed if the account has a signature secret."""
    said = _fields(callback)
    if not _is_believed(said, account):
        return Denied("signature")
    standing = STANDINGS.get(str(said.get("status")))
    if standing is None:
        return ()
    code, (message_id, parts) = text(said.get("err-code")), _referred(said.get("client-ref"))
    return (
        Receipt(
            standing, message_id=message_id, provider_ref=text(said.get("messageId")), address=text(said.get("msisdn")),
            at=_at(text(said.get("scts"))), code=code, fault=CODES.fault(code) if standing is Standing.FAILED else "none", of_part=True,
            parts=parts,
        ),
    )  # fmt: skip


def inbound(callback: Callback, account: Account, now: datetime) -> Sequence[Inbound] | Denied:  # noqa: ARG001  # every kind's shape
    """Return what somebody wrote; the parts of a long message come separately."""
    said = _fields(callback)
    if not _is_believed(said, account):
        return Denied("signature")
    ref, sender = text(said.get("messageId")), text(said.get("msisdn"))
    if ref is None or sender is None:
        return ()
    signed = "signature_secret" in account.credentials
    return (Inbound(ref, "sms", sender, str(said.get("text", "")), at=_stamp(text(said.get("message-timestamp"))), signed=signed),)


def _is_believed(said: Mapping[str, Any], account: Account) -> bool:
    """Return whether it is signed, if the account has a signature secret."""
    secret = account.credentials.get("signature_secret")
    if not secret:
        return True
    expected = signature(said, secret, account.settings.get("signature_method", METHODS[0]))
    return hmac.compare_digest(expected.encode(), str(said.get("sig", "")).lower().encode())


def signature(fields: Mapping[str, Any], secret: str, method: str) -> str:
    """Return Vonage's signature for these fields, in lower-case hexadecimal."""
    named = sorted((name, str(value)) for name, value in fields.items() if name != "sig")
    signed = "".join(f"&{name}={value.replace('&', '_').replace('=', '_')}" for name, value in named).encode()
    if method == METHODS[0]:
        return hashlib.md5(signed + secret.encode(), usedforsecurity=False).hexdigest()
    return hmac.digest(secret.encode(), signed, method).hex()


def _refusal(part: dict[str, Any]) -> Refused | Unknown:
    return CODES.result(200, text(part.get("status")))


def _fields(callback: Callback) -> Mapping[str, Any]:
    """Return the fields of a receipt: the provider can be set to send JSON, a form, or URL parameters."""
    kind = callback.headers.get("content-type", "")
    if kind.startswith("application/json"):
        return json_object(callback.body)
    return form(callback.body) if callback.body else callback.query


def _at(written: str | None) -> datetime | None:
    try:
        return datetime.strptime(written or "", "%y%m%d%H%M").replace(tzinfo=UTC)
    except ValueError:
        return None


def _stamp(written: str | None) -> datetime | None:
    """Return a time that Vonage writes without an offset; it is UTC."""
    try:
        return datetime.strptime(written or "", "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def check(account: Account) -> None:
    """Refuse an account whose receipts could never be verified."""
    if account.settings.get("signature_method", METHODS[0]) not in METHODS:
        raise UnfitError("no_such_signature_method", "config")


ADAPTER = Adapter(
    kind="vonage", channels=("sms",), request=request, read=read, receipts=receipts, inbound=inbound, look_up=LookUp(search, searched),
    check=check, credentials=("api_key", "api_secret"), settings=("from",), optional=("signature_secret", "signature_method"),
    secrets=("signature_secret",), signing=("signature_secret",),
)  # fmt: skip
