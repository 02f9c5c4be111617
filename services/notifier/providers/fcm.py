"""Firebase Cloud Messaging v1: push. It has no receipts: accepting a message is its last word."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.results import Accepted, Result, Unknown
from services.notifier.providers import jws
from services.notifier.providers.codes import Codes
from services.notifier.providers.pushes import named
from services.notifier.providers.wire import (
    Account,
    Adapter,
    Answer,
    HttpCall,
    Token,
    TokenExchange,
    UnfitError,
    json_object,
    seconds_left,
    text,
)

CODES = Codes.load("fcm")
BASE = "https://fcm.googleapis.com"
TOKENS = "https://oauth2.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LONGEST_S = 2_419_200
MOST_BYTES = 4096
UNSAID_S = "60"
"""How long nothing is sent after a 429 that does not say."""
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
ABOUT_TOKEN = "message.token"  # noqa: S105  # the name of a field


def request(message: OutgoingMessage, account: Account, now: datetime) -> HttpCall:
    """Return the call that pushes a notification to one device, expiring with the message on every platform."""
    said: dict[str, Any] = {"body": message.body} | ({"title": message.subject} if message.subject else {})
    wanted: dict[str, Any] = {"token": message.to, "notification": said, "data": named(message)}
    left = seconds_left(message, now, least=1, most=LONGEST_S)
    if left is not None:
        wanted["android"] = {"ttl": f"{left}s"}
        wanted["apns"] = {"headers": {"apns-expiration": str(int(now.timestamp()) + left)}}
        wanted["webpush"] = {"headers": {"TTL": str(left)}}
    body = msgspec.json.encode({"message": wanted})
    if len(body) > MOST_BYTES:
        raise UnfitError("too_large", "content")  # FCM would refuse it with the error that condemns the token
    headers = {"authorization": f"Bearer {account.credentials['token']}", "content-type": "application/json"}
    url = f"{account.base_url or BASE}/v1/projects/{quote(account.settings['project_id'], safe='')}/messages:send"
    return HttpCall(url, headers, body)


def read(answer: Answer) -> Result:
    """Return what an answer says: a message with its name, or an error."""
    said = json_object(answer.body)
    if answer.status == 200:
        name = text(said.get("name"))
        return Accepted(name) if name else Unknown("answer_unreadable")
    error = said.get("error")
    codes = _codes(error) if isinstance(error, dict) else ()
    wait = answer.headers.get("retry-after") or (UNSAID_S if answer.status == 429 else None)
    return CODES.result(answer.status, *codes, retry_after=wait)


def _codes(error: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of an error, most specific first; an invalid argument is about the token only if the answer says so."""
    found = error.get("details")
    details = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    named = next((str(one.get("errorCode")) for one in details if one.get("@type") == FCM_ERROR), None)
    violations = [one["fieldViolations"] for one in details if isinstance(one.get("fieldViolations"), list)]
    fields = [str(one.get("field")) for listed in violations for one in listed if isinstance(one, dict)]
    status = str(error.get("status"))
    if named == "INVALID_ARGUMENT" and all(field == ABOUT_TOKEN for field in fields):
        return ("INVALID_ARGUMENT token",)
    return (named, status) if named else (status,)


def token_request(account: Account, now: datetime) -> HttpCall:
    """Return the call that exchanges a service account's key for a token, valid for an hour."""
    at = int(now.timestamp())
    claims = {"iss": account.credentials["client_email"], "scope": SCOPE, "aud": f"{TOKENS}/token", "iat": at, "exp": at + 3600}
    key_id = account.credentials.get("private_key_id")
    assertion = jws.sign_rs256(claims, account.credentials["private_key"], {"kid": key_id} if key_id else {})
    body = urlencode({"grant_type": GRANT, "assertion": assertion}).encode()
    return HttpCall(f"{account.base_url or TOKENS}/token", {"content-type": "application/x-www-form-urlencoded"}, body)


def read_token(answer: Answer) -> Token | None:
    """Return the token in an answer."""
    said = json_object(answer.body)
    value, lasts = text(said.get("access_token")), said.get("expires_in")
    if answer.status != 200 or value is None or not isinstance(lasts, int):
        return None
    return Token(value, timedelta(seconds=min(max(lasts, 0), 86_400)))


ADAPTER = Adapter(
    kind="fcm", channels=("push",), request=request, read=read, credentials=("client_email", "private_key"), settings=("project_id",),
    optional=("private_key_id",), token=TokenExchange(token_request, read_token),
)  # fmt: skip
