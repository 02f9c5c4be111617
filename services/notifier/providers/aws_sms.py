"""AWS End User Messaging SMS. Our id is sent in the context, which its events return."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import msgspec

from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.receipts import Receipt, Standing
from services.notifier.domain.replies import Inbound
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
    e164,
    json_object,
    seconds_left,
    text,
)  # fmt: skip

CODES = Codes.load("aws_sms")
TARGET = "PinpointSMSVoiceV2.SendTextMessage"
SHORTEST_S, LONGEST_S = 5, 259_200
OURS = "dunwell_message"
ABOUT_A_FIELD = frozenset({"CANNOT_PARSE", "FIELD_VALIDATION_FAILED", "INVALID_PARAMETER"})
STANDINGS = MappingProxyType(
    {
        "TEXT_QUEUED": Standing.ACCEPTED,
        "TEXT_PENDING": Standing.ACCEPTED,
        "TEXT_SENT": Standing.SENT,
        "TEXT_SUCCESSFUL": Standing.SENT,
        "TEXT_DELIVERED": Standing.DELIVERED,
        **dict.fromkeys(CODES.receipt, Standing.FAILED),
    }
)
"""`TEXT_UNKNOWN` is missing because it says nothing. `TEXT_SUCCESSFUL` comes from the carrier, not the handset."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def request(message: OutgoingMessage, account: Account, now: datetime) -> HttpCall:
    """Return the call that sends one text."""
    body: dict[str, Any] = {
        "DestinationPhoneNumber": e164(message.to),
        "MessageBody": message.body,
        "MessageType": "TRANSACTIONAL",
        "Context": {OURS: message.id},
    }
    if "from" in account.settings:
        body["OriginationIdentity"] = account.settings["from"]
    if "configuration_set" in account.settings:
        body["ConfigurationSetName"] = account.settings["configuration_set"]
    left = seconds_left(message, now, least=SHORTEST_S, most=LONGEST_S)
    if left is not None:
        body["TimeToLive"] = left
    headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": TARGET}
    return aws.signed(account, now, service="sms-voice", path="/", headers=headers, body=msgspec.json.encode(body))


def read(answer: Answer) -> Result:
    """Return what an answer says: a text with its id, or a named error with its reason."""
    if answer.status == 200:
        ref = text(json_object(answer.body).get("MessageId"))
        return Accepted(ref) if ref else Unknown("answer_unreadable")
    codes = (_field(answer), *aws.error_codes(answer))
    return CODES.result(answer.status, *codes, retry_after=answer.headers.get("retry-after"))


def _field(answer: Answer) -> str | None:
    """Return the code for a number or text that is itself wrong, as opposed to an account that may not write to it."""
    said = json_object(answer.body)
    fields = said.get("Fields")
    if said.get("Reason") not in ABOUT_A_FIELD or not isinstance(fields, list):
        return None
    named = {str(one.get("Name")).lower() for one in fields if isinstance(one, dict)}
    return next((f"ValidationException {field}" for field in ("DestinationPhoneNumber", "MessageBody") if named == {field.lower()}), None)


def receipts(callback: Callback, account: Account, now: datetime) -> Sequence[Receipt] | Denied | Fetch:  # noqa: ARG001  # every kind's shape
    """Return what an event delivered by SNS says."""
    event = sns.event_of(callback, account)
    if event is None or isinstance(event, Denied | Fetch):
        return event or ()
    kind = str(event.get("eventType"))
    standing = STANDINGS.get(kind)
    if standing is None:
        return ()
    context = event.get("context")
    failed = standing is Standing.FAILED
    return (
        Receipt(
            standing, message_id=text(context.get(OURS)) if isinstance(context, dict) else None,
            provider_ref=text(event.get("messageId")), address=text(event.get("destinationPhoneNumber")),
            at=_at(event.get("eventTimestamp")), code=kind if failed else None, fault=CODES.fault(kind) if failed else "none",
        ),
    )  # fmt: skip


def inbound(callback: Callback, account: Account, now: datetime) -> Sequence[Inbound] | Denied | Fetch:  # noqa: ARG001  # every kind's shape
    """Return what somebody wrote to a two-way number whose messages go to the account's topic."""
    event = sns.event_of(callback, account)
    if event is None or isinstance(event, Denied | Fetch):
        return event or ()
    ref, sender = text(event.get("inboundMessageId")), text(event.get("originationNumber"))
    if ref is None or sender is None:
        return ()
    return (Inbound(ref, "sms", sender, str(event.get("messageBody", ""))),)


def _at(millis: object) -> datetime | None:
    try:
        return _EPOCH + timedelta(milliseconds=millis) if isinstance(millis, int) else None
    except OverflowError:
        return None


ADAPTER = Adapter(
    kind="aws_sms", channels=("sms",), request=request, read=read, receipts=receipts, inbound=inbound,
    credentials=aws.CREDENTIALS, settings=("region",), optional=("session_token", "from", "configuration_set", "topic"),
    signing=aws.CREDENTIALS,
)  # fmt: skip
