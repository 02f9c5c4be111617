"""Amazon SES v2: e-mail. Our id is sent as a tag, which its events return."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from email.utils import formataddr
from types import MappingProxyType
from typing import Any

import msgspec

from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.receipts import Receipt, Standing
from services.notifier.domain.results import Accepted, Result, Unknown
from services.notifier.providers import aws, sns
from services.notifier.providers.codes import Codes
from services.notifier.providers.wire import (
    Account,
    Adapter,
    Answer,
    Callback,
    Denied,
    Fetch,
    HttpCall,
    UnfitError,
    json_object,
    mailbox,
    moment,
    one_click,
    still_wanted,
    text,
)  # fmt: skip

CODES = Codes.load("aws_ses")
PATH = "/v2/email/outbound-emails"
OURS = "dunwell_message"
NEVER_SENT = "Complaint/OnAccountSuppressionList"
"""After a complaint no more is sent to that recipient: the API accepts the mail, and it goes nowhere."""
STANDINGS = MappingProxyType(
    {
        "Send": Standing.ACCEPTED,
        "DeliveryDelay": Standing.ACCEPTED,
        "Delivery": Standing.DELIVERED,
        "Bounce": Standing.FAILED,
        "Reject": Standing.FAILED,
        "Rendering Failure": Standing.FAILED,
    }
)


def request(message: OutgoingMessage, account: Account, now: datetime) -> HttpCall:
    """Return the call that sends one mail to one address."""
    if not message.subject:
        raise UnfitError("no_subject", "content")
    still_wanted(message, now)
    sender = account.settings["from"]
    body: dict[str, Any] = {
        "FromEmailAddress": formataddr((account.settings["from_name"], sender)) if "from_name" in account.settings else sender,
        "Destination": {"ToAddresses": [mailbox(message.to)]},
        "Content": {"Simple": {"Subject": _said(message.subject), "Body": {"Text": _said(message.body)}, **_headers(message)}},
        "EmailTags": [{"Name": OURS, "Value": message.id}],
    }
    if "configuration_set" in account.settings:
        body["ConfigurationSetName"] = account.settings["configuration_set"]
    headers = {"content-type": "application/json"}
    return aws.signed(account, now, service="email", path=PATH, headers=headers, body=msgspec.json.encode(body))


def read(answer: Answer) -> Result:
    """Return what an answer says: a mail with its id, or a named error."""
    if answer.status == 200:
        ref = text(json_object(answer.body).get("MessageId"))
        return Accepted(ref) if ref else Unknown("answer_unreadable")
    codes = [code for code in aws.error_codes(answer) if "/" not in code]
    if codes == ["MessageRejected"] and aws.UNVERIFIED in str(json_object(answer.body).get("message")).lower():
        codes = ["MessageRejected not verified"]
    return CODES.result(answer.status, *codes, retry_after=answer.headers.get("retry-after"))


def receipts(callback: Callback, account: Account, now: datetime) -> Sequence[Receipt] | Denied | Fetch:  # noqa: ARG001  # every kind's shape
    """Return what an event delivered by SNS says."""
    event = sns.event_of(callback, account)
    if event is None or isinstance(event, Denied | Fetch):
        return event or ()
    kind = str(event.get("eventType") or event.get("notificationType"))
    codes = _codes(event, kind)
    standing = Standing.FAILED if NEVER_SENT in codes else STANDINGS.get(kind)
    if standing is None and not codes:
        return ()
    mail = event.get("mail")
    mail = mail if isinstance(mail, dict) else {}
    return (
        Receipt(
            standing, message_id=_tag(mail), provider_ref=text(mail.get("messageId")), at=_at(event, kind, mail),
            address=_first(mail.get("destination")), code=codes[0] if codes else None, fault=CODES.fault(*codes) if codes else "none",
        ),
    )  # fmt: skip


def _at(event: dict[str, Any], kind: str, mail: dict[str, Any]) -> datetime | None:
    """Return when it happened if the event says so, else when the mail was sent."""
    about = event.get(kind[:1].lower() + kind[1:])
    return (moment(about.get("timestamp")) if isinstance(about, dict) else None) or moment(mail.get("timestamp"))


def _codes(event: dict[str, Any], kind: str) -> tuple[str, ...]:
    """Return the words of a failure or an opt-out under which the table lists it."""
    match kind:
        case "Bounce":
            bounce = event.get("bounce")
            bounce = bounce if isinstance(bounce, dict) else {}
            what = str(bounce.get("bounceType"))
            return f"{what}/{bounce.get('bounceSubType')}", f"{what}/*", what
        case "Subscription":
            wish = event.get("subscription")
            wanted = wish.get("newTopicPreferences") if isinstance(wish, dict) else None
            gone = isinstance(wanted, dict) and wanted.get("unsubscribeAll") is True
            return ("Subscription OPT_OUT",) if gone else ()
        case "Complaint":
            complaint = event.get("complaint")
            why = complaint.get("complaintSubType") if isinstance(complaint, dict) else None
            return (f"{kind}/{why}", kind) if why else (kind,)
        case "Reject":
            return (kind,)
        case "Rendering Failure":
            return ("RenderingFailure",)
        case _:
            return ()


def _tag(mail: dict[str, Any]) -> str | None:
    tags = mail.get("tags")
    return _first(tags.get(OURS)) if isinstance(tags, dict) else None


def _first(values: object) -> str | None:
    return text(values[0]) if isinstance(values, list) and values else None


def _headers(message: OutgoingMessage) -> dict[str, list[dict[str, str]]]:
    ending = one_click(message)
    return {"Headers": [{"Name": name, "Value": value} for name, value in ending.items()]} if ending else {}


def _said(written: str) -> dict[str, str]:
    return {"Data": written, "Charset": "UTF-8"}


ADAPTER = Adapter(
    kind="aws_ses", channels=("email",), request=request, read=read, receipts=receipts, credentials=aws.CREDENTIALS,
    settings=("from", "region"), optional=("session_token", "from_name", "configuration_set", "topic"),
    signing=aws.CREDENTIALS,
)  # fmt: skip
