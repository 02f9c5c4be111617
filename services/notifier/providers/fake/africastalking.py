"""A fake of Africa's Talking."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlencode

from services.notifier.domain.receipts import Standing
from services.notifier.providers.africastalking import CODES
from services.notifier.providers.fake.speaker import Speaker, Taken, as_json
from services.notifier.providers.wire import Account, Answer, HttpCall, form

WORDS = {Standing.ACCEPTED: "Sent", Standing.SENT: "Submitted", Standing.FAILED: "Failed", Standing.DELIVERED: "Success"}


def take(call: HttpCall, account: Account, ref: str) -> Taken | Answer:
    """Take a message from an account that presents its key."""
    said = form(call.body)
    if call.headers.get("apikey") != account.credentials["api_key"] or said.get("username") != account.settings["username"]:
        return Answer(401, {"content-type": "text/plain"}, b"The supplied authentication is invalid")
    if not call.url.endswith("/version1/messaging") or not said.get("message"):
        return Answer(400, {"content-type": "text/plain"}, b"Bad request")
    if not said.get("to", "").startswith("+"):
        return _said({"statusCode": 403, "number": said.get("to"), "status": "InvalidPhoneNumber", "cost": "0", "messageId": "None"})
    return Taken(f"ATXid_{ref}", said["to"], said["message"], callback=account.callback)


def accept(taken: Taken) -> Answer:
    """Answer for a message that was sent."""
    return _said({"statusCode": 101, "number": taken.to, "status": "Success", "cost": "KES 0.8000", "messageId": taken.ref})


def refuse(taken: Taken, code: str) -> Answer:
    """Answer with a recipient's code, the word given in place of recipients, or a bare status if the table has no other."""
    if code.startswith("http "):
        return Answer(int(code[5:].replace("xx", "00")), {}, b"")
    if not code.isdecimal():
        return as_json(201, {"SMSMessageData": {"Message": code, "Recipients": []}})
    return _said({"statusCode": int(code), "number": taken.to, "status": "refused", "cost": "0", "messageId": "None"})


def report(taken: Taken, standing: Standing, account: Account, now: datetime) -> HttpCall:  # noqa: ARG001  # every kind's shape
    """Return the report."""
    said = {"id": taken.ref, "status": WORDS[standing], "phoneNumber": taken.to, "networkCode": "63902", "retryCount": "0"}
    if standing is Standing.FAILED:
        said["failureReason"] = "DeliveryFailure"
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return HttpCall(taken.callback or account.callback or "", headers, urlencode(said).encode())


def _said(recipient: dict[str, object]) -> Answer:
    return as_json(201, {"SMSMessageData": {"Message": "Sent to 1/1", "Recipients": [recipient]}})


SPEAKER = Speaker(take=take, accept=accept, refuse=refuse, codes=CODES, report=report)
