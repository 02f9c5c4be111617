"""Apple's push service, over HTTP/2. It has no receipts: accepting a message is its last word.

Its id for a message is derived from ours; it identifies a push but does not prevent a duplicate.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import msgspec

from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.results import Accepted, Result, Unknown
from services.notifier.providers import jws
from services.notifier.providers.codes import Codes
from services.notifier.providers.pushes import named
from services.notifier.providers.wire import Account, Adapter, Answer, HttpCall, Minted, Token, UnfitError, json_object, seconds_left, text

CODES = Codes.load("apns")
HOSTS = MappingProxyType({"production": "https://api.push.apple.com", "sandbox": "https://api.sandbox.push.apple.com"})
NAMES = uuid.UUID("5d8a7f0e-1f0c-4a53-9c1e-2f6f3a6a8f10")
LONGEST_S = 2_592_000
MOST_BYTES = 4096
MOST_COLLAPSE = 64
LASTS = timedelta(minutes=42)
"""A token is accepted for an hour, and must not be replaced within twenty minutes."""


def request(message: OutgoingMessage, account: Account, now: datetime) -> HttpCall:
    """Return the call that pushes a notification to one device; a duplicate replaces the first one on the screen."""
    alert = {"body": message.body} | ({"title": message.subject} if message.subject else {})
    body = msgspec.json.encode({"aps": {"alert": alert}, **named(message)})
    if len(body) > MOST_BYTES:
        raise UnfitError("too_large", "content")
    host = HOSTS.get(account.settings.get("environment", "production"))
    if host is None:
        raise UnfitError("no_such_environment", "config")
    headers = {
        "authorization": f"bearer {account.credentials['token']}",
        "content-type": "application/json",
        "apns-id": str(uuid.uuid5(NAMES, message.id)),
        "apns-topic": account.settings["topic"],
        "apns-push-type": "alert",
        "apns-priority": "10",
        "apns-collapse-id": message.id[:MOST_COLLAPSE],
    }
    left = seconds_left(message, now, least=1, most=LONGEST_S)
    if left is not None:
        headers["apns-expiration"] = str(int(now.timestamp()) + left)
    return HttpCall(f"{account.base_url or host}/3/device/{quote(message.to, safe='')}", headers, body)


def read(answer: Answer) -> Result:
    """Return what an answer says: nothing but an id, or the reason for refusing."""
    if answer.status == 200:
        ref = text(answer.headers.get("apns-id"))
        return Accepted(ref) if ref else Unknown("answer_unreadable")
    said: dict[str, Any] = json_object(answer.body)
    reason = text(said.get("reason"))
    code = f"{answer.status} {reason}" if reason else None
    return CODES.result(answer.status, code, retry_after=answer.headers.get("retry-after"))


def token(account: Account, now: datetime) -> Token:
    """Return a token signed by the account's key."""
    claims = {"iss": account.settings["team_id"], "iat": int(now.timestamp())}
    return Token(jws.sign_es256(claims, account.credentials["private_key"], {"kid": account.settings["key_id"]}), LASTS)


ADAPTER = Adapter(
    kind="apns", channels=("push",), request=request, read=read, credentials=("private_key",), settings=("topic", "team_id", "key_id"),
    optional=("environment",), token=Minted(token), http2=True,
)  # fmt: skip
