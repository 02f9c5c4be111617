"""SendGrid v3: e-mail. Our id is sent as a custom argument, which its events return."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.parser import HeaderParser
from email.utils import parseaddr, parsedate_to_datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from services.notifier.domain.asking import Question, Search
from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.receipts import Receipt, Standing
from services.notifier.domain.replies import Inbound, unquoted
from services.notifier.domain.results import Accepted, Result, Unknown
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
    at_epoch,
    json_object,
    json_objects,
    mailbox,
    moment,
    multipart,
    one_click,
    still_wanted,
    text,
)  # fmt: skip

CODES = Codes.load("sendgrid")
BASE = "https://api.sendgrid.com"
OURS = "dunwell_message"
SIGNATURE, TIMESTAMP = "x-twilio-email-event-webhook-signature", "x-twilio-email-event-webhook-timestamp"
STANDINGS = MappingProxyType(
    {
        "processed": Standing.ACCEPTED,
        "deferred": Standing.ACCEPTED,
        "delivered": Standing.DELIVERED,
        "bounce": Standing.FAILED,
        "dropped": Standing.FAILED,
    }
)
ACTIVITY = MappingProxyType({"processed": Standing.ACCEPTED, "delivered": Standing.DELIVERED, "not_delivered": Standing.FAILED})
"""What its search says about a mail."""
WISHES = ("spamreport", "unsubscribe", "group_unsubscribe")
"""Events about the person rather than about how far a mail came."""


def request(message: OutgoingMessage, account: Account, now: datetime) -> HttpCall:
    """Return the call that sends one mail to one address, with link and open tracking off."""
    if not message.subject:
        raise UnfitError("no_subject", "content")
    still_wanted(message, now)
    sender = {"email": account.settings["from"]} | ({"name": account.settings["from_name"]} if "from_name" in account.settings else {})
    untracked = {"enable": False}
    body: dict[str, Any] = {
        "personalizations": [{"to": [{"email": mailbox(message.to)}], "custom_args": {OURS: message.id}}],
        "from": sender,
        "subject": message.subject,
        "content": [{"type": "text/plain", "value": message.body}],
        "tracking_settings": {"click_tracking": untracked, "open_tracking": untracked},
    }
    if ending := one_click(message):
        body["headers"] = ending
    headers = {"authorization": f"Bearer {account.credentials['api_key']}", "content-type": "application/json"}
    return HttpCall(f"{account.base_url or BASE}/v3/mail/send", headers, msgspec.json.encode(body))


def read(answer: Answer) -> Result:
    """Return what an answer says: only 202 means accepted, and the id is in a header."""
    if answer.status == 202:
        return Accepted(answer.headers.get("x-message-id", ""))
    if 200 <= answer.status < 300:
        return Unknown("answer_unreadable")
    errors = json_object(answer.body).get("errors")
    fields = [str(error.get("field")) for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    about = f"{answer.status} to" if any(".to" in field for field in fields if field.startswith("personalizations")) else None
    return CODES.result(answer.status, about, retry_after=answer.headers.get("retry-after") or _until_reset(answer.headers))


def search(question: Question, account: Account, now: datetime) -> HttpCall:  # noqa: ARG001  # every kind's shape
    """Return the call that searches for the mail with our id among its arguments, in the activity history, which is a paid add-on."""
    asked = {"query": f"unique_args['{OURS}']=\"{question.message_id}\"", "limit": "2"}
    headers = {"authorization": f"Bearer {account.credentials['api_key']}", "accept": "application/json"}
    return HttpCall(f"{account.base_url or BASE}/v3/messages?{urlencode(asked)}", headers, b"", "GET")


def searched(answer: Answer, question: Question, account: Account) -> Search | None:  # noqa: ARG001  # every kind's shape
    """Return the mail found, if it is the only one and went to this address; its arguments are not shown.

    Finding none proves nothing: an account without the history gets the same answer.
    """
    messages = json_object(answer.body).get("messages")
    if not isinstance(messages, list):
        return None
    one: dict[str, Any] = messages[0] if len(messages) == 1 and isinstance(messages[0], dict) else {}
    is_ours = str(one.get("to_email")).lower() == question.to.lower()
    return Search((_active(one, question.message_id),) if is_ours else ())


def _active(said: dict[str, Any], message_id: str) -> Receipt:
    status = str(said.get("status"))
    standing, ref = ACTIVITY.get(status, Standing.ACCEPTED), text(said.get("msg_id"))
    failed = standing is Standing.FAILED
    return Receipt(
        standing, message_id=message_id, provider_ref=ref.partition(".")[0] if ref else None, at=moment(said.get("last_event_time")),
        code=status if failed else None, fault=CODES.fault(status) if failed else "none",
    )  # fmt: skip


def receipts(callback: Callback, account: Account, now: datetime) -> Sequence[Receipt] | Denied:  # noqa: ARG001  # every kind's shape
    """Return what a batch of events says; signed if the account has the verification key."""
    key = account.credentials.get("verification_key")
    if key and not _is_signed(callback, key):
        return Denied("signature")
    return [receipt for event in json_objects(callback.body) if (receipt := _receipt(event))]


def inbound(callback: Callback, account: Account, now: datetime) -> Sequence[Inbound] | Denied:  # noqa: ARG001  # every kind's shape
    """Return what somebody mailed (Inbound Parse); it is not signed, and automatic replies express nobody's wish."""
    fields = multipart(callback)
    charsets = json_object(fields.get("charsets", b""))
    said = {name: _decoded(content, charsets.get(name)) for name, content in fields.items()}
    headers = HeaderParser().parsestr(said.get("headers", ""))
    sender, ref = _sender(said.get("from", "")), headers.get("message-id")
    if not sender or not ref or headers.get("auto-submitted", "no").strip().lower() != "no":
        return ()
    return (Inbound(str(ref).strip(), "email", sender, unquoted(said.get("text", "")) or said.get("subject", ""), signed=False),)


def _sender(written: str) -> str:
    """Return the address that a mail comes from; none if its comments are nested too deeply."""
    try:
        return parseaddr(written)[1]
    except RecursionError:
        return ""


def _decoded(content: bytes, charset: object) -> str:
    """Return a field decoded with the charset that the mail names, whatever it is."""
    try:
        return content.decode(str(charset or "utf-8"), "replace")
    except (LookupError, ValueError):
        return content.decode("utf-8", "replace")


def _receipt(event: dict[str, Any]) -> Receipt | None:
    kind = str(event.get("event"))
    standing = STANDINGS.get(kind)
    if standing is None and kind not in WISHES:
        return None
    codes = _codes(event, kind) if standing in (None, Standing.FAILED) else ()
    ref = text(event.get("sg_message_id"))
    return Receipt(
        standing, message_id=text(event.get(OURS)), provider_ref=ref.partition(".")[0] if ref else None, address=text(event.get("email")),
        event_id=text(event.get("sg_event_id")), at=at_epoch(event.get("timestamp")), code=codes[0] if codes else None,
        fault=CODES.fault(*codes) if codes else "none",
    )  # fmt: skip


def _codes(event: dict[str, Any], kind: str) -> tuple[str, ...]:
    """Return the words of a failure under which the table lists it, most specific first."""
    if kind == "dropped":
        return (f"dropped {str(event.get('reason', '')).lower()}", f"dropped {event.get('type')}")
    return (str(event.get("type", kind)), kind) if kind == "bounce" else (kind,)


def _is_signed(callback: Callback, key: str) -> bool:
    try:
        public = load_der_public_key(base64.b64decode(key))
        given = base64.b64decode(callback.headers.get(SIGNATURE, ""), validate=True)
        if not isinstance(public, EllipticCurvePublicKey):
            return False
        public.verify(given, callback.headers.get(TIMESTAMP, "").encode() + callback.body, ECDSA(SHA256()))
    except (binascii.Error, ValueError, InvalidSignature):
        return False
    return True


def _until_reset(headers: Mapping[str, str]) -> str | None:
    """Return the seconds until the limit resets, by the provider's own clock."""
    reset = at_epoch(headers.get("x-ratelimit-reset"))
    try:
        said = parsedate_to_datetime(headers.get("date", ""))
    except ValueError:
        return None
    return str(max(0, int((reset - said).total_seconds()))) if reset and said.tzinfo else None


ADAPTER = Adapter(
    kind="sendgrid", channels=("email",), request=request, read=read, receipts=receipts, inbound=inbound, look_up=LookUp(search, searched),
    credentials=("api_key",), settings=("from",), optional=("verification_key", "from_name"),
    signing=("verification_key",),
)  # fmt: skip
