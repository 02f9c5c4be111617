"""A fake of SendGrid."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from services.notifier.domain.receipts import Standing
from services.notifier.providers.fake.speaker import Speaker, Taken, as_json
from services.notifier.providers.sendgrid import CODES, OURS, SIGNATURE, TIMESTAMP
from services.notifier.providers.wire import Account, Answer, HttpCall, json_object

SIGNING = "signing_key"
"""The fake account's credential that signs its events: the private half of the verification key."""
WORDS = {Standing.ACCEPTED: "processed", Standing.SENT: "processed", Standing.FAILED: "bounce", Standing.DELIVERED: "delivered"}
ACTIVITY = {**dict.fromkeys(Standing, "processed"), Standing.FAILED: "not_delivered", Standing.DELIVERED: "delivered"}
_QUERY = re.compile(rf"unique_args\['{OURS}'\]=\"([^\"]+)\"")


def take(call: HttpCall, account: Account, ref: str) -> Taken | Answer:
    """Take a mail from an account that presents its key."""
    if call.headers.get("authorization") != f"Bearer {account.credentials['api_key']}":
        return _error(401, None)
    said = json_object(call.body)
    try:
        (to,) = said["personalizations"]
        (address,) = to["to"]
        (content,) = said["content"]
        return Taken(
            ref, address["email"], content["value"], subject=said["subject"], reference=to.get("custom_args", {}).get(OURS),
            callback=account.callback,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError):
        return _error(400, "personalizations")


def accept(taken: Taken) -> Answer:
    """Answer for a mail that will be sent."""
    return Answer(202, {"x-message-id": taken.ref}, b"")


def refuse(_: Taken, code: str) -> Answer:
    """Answer with a status."""
    about = code.endswith(" to")
    return _error(
        int(code.removeprefix("http ").removesuffix(" to").replace("xx", "00")), "personalizations.0.to.0.email" if about else None
    )


def report(taken: Taken, standing: Standing, account: Account, now: datetime) -> HttpCall:
    """Return a signed batch with one event."""
    event: dict[str, Any] = {
        "email": taken.to, "timestamp": int(now.timestamp()), "event": WORDS[standing], "sg_event_id": f"e{taken.ref}",
        "sg_message_id": f"{taken.ref}.filterdrecv-1", OURS: taken.reference,
    }  # fmt: skip
    if standing is Standing.FAILED:
        event |= {"type": "bounce", "status": "5.1.1", "reason": "550 unknown"}
    body, at = msgspec.json.encode([event]), str(int(now.timestamp()))
    key = load_pem_private_key(account.credentials[SIGNING].encode(), None)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise TypeError("events are signed with an elliptic curve")
    signed = base64.b64encode(key.sign(at.encode() + body, ECDSA(SHA256()))).decode()
    return HttpCall(taken.callback or "", {"content-type": "application/json", SIGNATURE: signed, TIMESTAMP: at}, body)


def search(call: HttpCall, account: Account, kept: Sequence[Taken]) -> Answer | None:
    """Return the mails with an argument, for an account that has paid for the activity history."""
    if call.method != "GET":
        return None
    if call.headers.get("authorization") != f"Bearer {account.credentials['api_key']}":
        return _error(401, None)
    asked = dict(parse_qsl(urlsplit(call.url).query))
    wanted = _QUERY.fullmatch(asked.get("query", ""))
    if wanted is None or not urlsplit(call.url).path.endswith("/v3/messages"):
        return _error(400, "query")
    found = [one for one in reversed(kept) if one.reference == wanted[1]][: int(asked.get("limit", "10"))]
    return as_json(200, {"messages": [_active(one, account) for one in found]})


def _active(taken: Taken, account: Account) -> dict[str, object]:
    last = taken.at.isoformat() if taken.at else None
    return {
        "from_email": account.settings["from"], "msg_id": f"{taken.ref}.filterdrecv-1", "subject": taken.subject, "to_email": taken.to,
        "status": ACTIVITY[taken.standing], "opens_count": 0, "clicks_count": 0, "last_event_time": last,
    }  # fmt: skip


def _error(status: int, field: str | None) -> Answer:
    return as_json(status, {"errors": [{"message": "refused", "field": field, "help": None}]})


SPEAKER = Speaker(take=take, accept=accept, refuse=refuse, codes=CODES, report=report, search=search)
