"""A fake of Vonage: HTTP 200 whatever it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from services.notifier.domain.receipts import Standing
from services.notifier.domain.segments import segments
from services.notifier.providers.fake.speaker import Speaker, Taken, as_json
from services.notifier.providers.vonage import CODES, METHODS, signature
from services.notifier.providers.wire import Account, Answer, HttpCall, basic, form

WORDS = {Standing.ACCEPTED: "buffered", Standing.SENT: "accepted", Standing.FAILED: "failed", Standing.DELIVERED: "delivered"}
RECORDS = {**WORDS, Standing.ACCEPTED: "submitted"}


def take(call: HttpCall, account: Account, ref: str) -> Taken | Answer:
    """Take a message from an account that presents its secret."""
    said = form(call.body)
    if any(said.get(name) != account.credentials[name] for name in ("api_key", "api_secret")):
        return _said({"status": "4", "error-text": "Bad Credentials"})
    if not all(said.get(name) for name in ("from", "to", "text")):
        return _said({"status": "2", "error-text": "Missing parameters"})
    if not urlsplit(call.url).path.endswith("/sms/json") or not said["to"].isdecimal():
        return _said({"status": "3", "error-text": "Invalid parameters"})
    return Taken(ref=ref[:16].upper(), to=said["to"], body=said["text"], reference=said.get("client-ref"), callback=said.get("callback"))


def accept(taken: Taken) -> Answer:
    """Answer for each part of a message."""
    paid = {"to": taken.to, "status": "0", "remaining-balance": "3.14", "message-price": "0.0333"}
    return _said(*({**paid, "message-id": one.ref} for one in parts(taken)))


def parts(taken: Taken) -> list[Taken]:
    """Return the parts of a message, each with an id of its own."""
    count = len(segments(taken.body).parts)
    return [taken, *(replace(taken, ref=f"{taken.ref[:-2]}{place:02X}") for place in range(2, count + 1))]


def refuse(_: Taken, code: str) -> Answer:
    """Answer with the status for the part."""
    return _said({"status": code, "error-text": "refused"})


def report(taken: Taken, standing: Standing, account: Account, now: datetime) -> HttpCall:
    """Return the delivery receipt, signed if the account has a signature secret."""
    fields: dict[str, Any] = {
        "msisdn": taken.to, "to": account.settings["from"], "network-code": "12345", "messageId": taken.ref, "price": "0.0333",
        "status": WORDS[standing], "scts": now.strftime("%y%m%d%H%M"), "err-code": "1" if standing is Standing.FAILED else "0",
        "api-key": account.credentials["api_key"], "client-ref": taken.reference, "message-timestamp": now.strftime("%Y-%m-%d %H:%M:%S"),
        "timestamp": str(int(now.timestamp())), "nonce": taken.ref,
    }  # fmt: skip
    secret = account.credentials.get("signature_secret")
    if secret:
        fields["sig"] = signature(fields, secret, account.settings.get("signature_method", METHODS[0])).upper()
    return HttpCall(taken.callback or "", {"content-type": "application/json"}, msgspec.json.encode(fields))


def search(call: HttpCall, account: Account, kept: Sequence[Taken]) -> Answer | None:
    """Return the records of what was sent to a number in an interval, whose end is exclusive."""
    if call.method != "GET":
        return None
    key, secret = account.credentials["api_key"], account.credentials["api_secret"]
    if call.headers.get("authorization") != basic(key, secret):
        return as_json(401, {"title": "Unauthorized"})
    asked = dict(parse_qsl(urlsplit(call.url).query))
    if not urlsplit(call.url).path.endswith("/v2/reports/records") or (asked["account_id"], asked["product"]) != (key, "SMS"):
        return as_json(403, {"title": "Forbidden"})
    since, until = (datetime.fromisoformat(asked[name]) for name in ("date_start", "date_end"))
    found = [one for one in kept if one.to == asked["to"] and one.at and since <= one.at < until]
    return as_json(200, {"request_status": "SUCCESS", "items_count": len(found), "records": [_recorded(one, key) for one in found]})


def _recorded(taken: Taken, key: str) -> dict[str, object]:
    failed = taken.standing is Standing.FAILED
    return {
        "account_id": key, "message_id": taken.ref, "client_ref": taken.reference, "direction": "outbound", "to": taken.to,
        "status": RECORDS[taken.standing], "error_code": "1" if failed else "0",
    }  # fmt: skip


def _said(*parts: dict[str, str]) -> Answer:
    return as_json(200, {"message-count": str(len(parts)), "messages": parts})


SPEAKER = Speaker(take=take, accept=accept, refuse=refuse, codes=CODES, report=report, parts=parts, search=search)
