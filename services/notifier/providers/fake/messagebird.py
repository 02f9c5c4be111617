"""A fake of MessageBird."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from urllib.parse import parse_qsl, urlencode, urlsplit

from services.notifier.domain.receipts import Standing
from services.notifier.providers import jws
from services.notifier.providers.fake.speaker import Speaker, Taken, as_json
from services.notifier.providers.messagebird import CODES
from services.notifier.providers.wire import Account, Answer, HttpCall, json_object

WORDS = {Standing.ACCEPTED: "buffered", Standing.SENT: "sent", Standing.FAILED: "delivery_failed", Standing.DELIVERED: "delivered"}
STATUSES = {"2": 401, "20": 404, "25": 402, "99": 500}
REPORTED_FOR_S = 60


def take(call: HttpCall, account: Account, ref: str) -> Taken | Answer:
    """Take a message from an account that presents its key."""
    if call.headers.get("authorization") != f"AccessKey {account.credentials['access_key']}":
        return _error("2", "access_key")
    said = json_object(call.body)
    if not (said.get("originator") and said.get("body")):
        return _error("21", "originator")
    recipients = said.get("recipients")
    if not isinstance(recipients, list) or len(recipients) != 1 or not str(recipients[0]).isdecimal():
        return _error("9", "recipients")
    return Taken(ref, str(recipients[0]), said["body"], reference=said.get("reference"), callback=said.get("reportUrl"))


def accept(taken: Taken) -> Answer:
    """Answer for a message that was created."""
    items = [{"recipient": int(taken.to), "status": "sent", "messagePartCount": 1}]
    counts = {"totalCount": 1, "totalSentCount": 1, "totalDeliveredCount": 0, "totalDeliveryFailedCount": 0}
    return as_json(201, {"id": taken.ref, "reference": taken.reference, "body": taken.body, "recipients": {**counts, "items": items}})


def refuse(_: Taken, code: str) -> Answer:
    """Answer with a code, or a bare status if the table has no other."""
    return as_json(int(code[5:]), {}) if code.startswith("http ") else _error(code, "recipients")


def report(taken: Taken, standing: Standing, account: Account, now: datetime) -> HttpCall:
    """Return the status report; MessageBird sends it as a `GET`, with everything in the URL."""
    said = {
        "id": taken.ref, "reference": taken.reference or "", "recipient": taken.to, "status": WORDS[standing],
        "statusDatetime": now.isoformat(timespec="seconds"),
    }  # fmt: skip
    if standing is Standing.FAILED:
        said["statusErrorCode"] = "27"
    url = f"{taken.callback}?{urlencode(said)}"
    at = int(now.timestamp())
    claims = {"iss": "MessageBird", "nbf": at, "exp": at + REPORTED_FOR_S, "url_hash": hashlib.sha256(url.encode()).hexdigest()}
    token = jws.sign_shared(claims, account.credentials.get("signing_key", ""))
    return HttpCall(url, {"messagebird-signature-jwt": token}, b"", "GET")


def search(call: HttpCall, account: Account, kept: Sequence[Taken]) -> Answer | None:
    """Return what was sent to a number in an interval."""
    if call.method != "GET":
        return None
    if call.headers.get("authorization") != f"AccessKey {account.credentials['access_key']}":
        return _error("2", "access_key")
    asked = dict(parse_qsl(urlsplit(call.url).query))
    since, until = (datetime.fromisoformat(asked[name]) for name in ("from", "until"))
    found = [one for one in kept if one.to == asked["recipient"] and one.at and since <= one.at <= until]
    items = [_listed(one) for one in found[: int(asked["limit"])]]
    return as_json(200, {"offset": 0, "count": len(items), "totalCount": len(found), "items": items})


def _listed(taken: Taken) -> dict[str, object]:
    status: dict[str, object] = {"recipient": int(taken.to), "status": WORDS[taken.standing]}
    if taken.standing is Standing.FAILED:
        status["statusErrorCode"] = 27
    return {"id": taken.ref, "reference": taken.reference, "direction": "mt", "recipients": {"items": [status]}}


def _error(code: str, parameter: str) -> Answer:
    return as_json(STATUSES.get(code, 422), {"errors": [{"code": int(code), "description": "refused", "parameter": parameter}]})


SPEAKER = Speaker(take=take, accept=accept, refuse=refuse, codes=CODES, report=report, search=search)
