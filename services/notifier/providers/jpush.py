"""JPush: push to a device by its registration id. It has no receipts: accepting a message is its last word.

It can prevent duplicates (`cid`), but only with ids requested from it; here nothing is given to it twice.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.results import Accepted, Result, Unknown
from services.notifier.providers.codes import Codes
from services.notifier.providers.pushes import named
from services.notifier.providers.wire import Account, Adapter, Answer, HttpCall, basic, json_object, seconds_left, text

CODES = Codes.load("jpush")
BASE = "https://api.jpush.cn"
LONGEST_S = 864_000


def request(message: OutgoingMessage, account: Account, now: datetime) -> HttpCall:
    """Return the call that pushes a notification to one device."""
    extras = named(message)
    titled = {"title": message.subject} if message.subject else {}
    options: dict[str, Any] = {"apns_production": account.settings.get("apns_production", "true") == "true"}
    left = seconds_left(message, now, least=1, most=LONGEST_S)
    if left is not None:
        options["time_to_live"] = left
    body = {
        "platform": ["android", "ios"],
        "audience": {"registration_id": [message.to]},
        "notification": {
            "android": {"alert": message.body, **titled, "extras": extras},
            "ios": {"alert": {**titled, "body": message.body}, "extras": extras},
        },
        "options": options,
    }
    shown = basic(account.credentials["app_key"], account.credentials["master_secret"])
    headers = {"authorization": shown, "content-type": "application/json"}
    return HttpCall(f"{account.base_url or BASE}/v3/push", headers, msgspec.json.encode(body))


def read(answer: Answer) -> Result:
    """Return what an answer says: a push with its id, or an error; an error about a value is the device's only if it says so."""
    said = json_object(answer.body)
    if answer.status == 200:
        ref = text(said.get("msg_id"))
        return Accepted(ref) if ref else Unknown("answer_unreadable")
    found = said.get("error")
    error: dict[str, Any] = found if isinstance(found, dict) else {}
    code = text(error.get("code"))
    if code == "1003" and "registration" in str(error.get("message")).lower():
        code = "1003 registration_id"
    rest = answer.headers.get("retry-after") or answer.headers.get("x-rate-limit-reset")
    return CODES.result(answer.status, code, retry_after=rest)


ADAPTER = Adapter(
    kind="jpush", channels=("push",), request=request, read=read, credentials=("app_key", "master_secret"), optional=("apns_production",)
)
