"""A fake of Firebase Cloud Messaging and of the token service in front of it."""

from __future__ import annotations

import hashlib

from services.notifier.providers import jws
from services.notifier.providers.fake.speaker import Speaker, Taken, as_json
from services.notifier.providers.fcm import CODES, FCM_ERROR, GRANT, token_request
from services.notifier.providers.pushes import OURS
from services.notifier.providers.wire import Account, Answer, HttpCall, at_epoch, form, json_object

STATUSES = {"UNREGISTERED": 404, "SENDER_ID_MISMATCH": 403, "QUOTA_EXCEEDED": 429, "INTERNAL": 500, "THIRD_PARTY_AUTH_ERROR": 401}
LASTS_S = 3599


def take(call: HttpCall, account: Account, ref: str) -> Taken | Answer:
    """Issue a token, or take a message that uses the one issued."""
    if call.url.endswith("/token"):
        said = form(call.body)
        if said.get("grant_type") != GRANT or not _is_ours(call, said.get("assertion", ""), account):
            return as_json(400, {"error": "invalid_grant"})
        return as_json(200, {"access_token": _token(account), "expires_in": LASTS_S, "token_type": "Bearer"})
    if call.headers.get("authorization") != f"Bearer {_token(account)}":
        return as_json(401, {"error": {"code": 401, "status": "UNAUTHENTICATED"}})
    message = json_object(call.body).get("message", {})
    if not isinstance(message, dict) or "token" not in message or "notification" not in message:
        return as_json(400, {"error": {"code": 400, "status": "INVALID_ARGUMENT"}})
    said = message["notification"]
    return Taken(ref, message["token"], said["body"], said.get("title"), message.get("data", {}).get(OURS))


def accept(taken: Taken) -> Answer:
    """Answer for a message that was taken."""
    return as_json(200, {"name": taken.ref})


def refuse(_: Taken, code: str) -> Answer:
    """Answer with an error and its details."""
    status = STATUSES.get(code, 400)
    name = code.partition(" ")[0]
    details = [{"@type": FCM_ERROR, "errorCode": name}] if code != "INVALID_ARGUMENT" else []
    return as_json(status, {"error": {"code": status, "message": "refused", "status": name, "details": details}})


def _is_ours(call: HttpCall, assertion: str, account: Account) -> bool:
    """Return whether the account would have made this request: the signature is deterministic."""
    at = at_epoch(jws.unchecked(assertion).get("iat"))
    return at is not None and token_request(account, at).body == call.body


def _token(account: Account) -> str:
    return hashlib.sha256(account.credentials["private_key"].encode()).hexdigest()


SPEAKER = Speaker(take=take, accept=accept, refuse=refuse, codes=CODES)
