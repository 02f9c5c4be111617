"""A fake of a wallet that takes its in-app messages."""

from __future__ import annotations

import hmac

from libs.common.webhooks.signing import signature
from services.notifier.providers.fake.speaker import Speaker, Taken, as_json
from services.notifier.providers.webhook import CODES, TYPE
from services.notifier.providers.wire import Account, Answer, HttpCall, json_object


def take(call: HttpCall, account: Account, ref: str) -> Taken | Answer:
    """Take a message with a valid signature."""
    about, at = call.headers.get("webhook-id", ""), call.headers.get("webhook-timestamp", "")
    if not at.isdecimal():
        return as_json(400, {})
    expected = signature(account.credentials["secret"], about, int(at), call.body)
    if not hmac.compare_digest(expected, call.headers.get("webhook-signature", "")):
        return as_json(401, {})
    said = json_object(call.body)
    if said.get("type") != TYPE:
        return as_json(422, {})
    data = said["data"]
    return Taken(ref, data["to"], data["body"], subject=data["subject"], reference=about)


def accept(taken: Taken) -> Answer:
    """Answer for a message that will be shown."""
    return as_json(200, {"id": taken.ref})


def refuse(_: Taken, code: str) -> Answer:
    """Answer with a status."""
    if code == "503 retry-after":
        return as_json(503, {}, **{"retry-after": "30"})
    return as_json(int(code.removeprefix("http ").replace("xx", "00")), {})


SPEAKER = Speaker(take=take, accept=accept, refuse=refuse, codes=CODES)
