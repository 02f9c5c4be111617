"""A fake of Apple's push service; must be served over HTTP/2."""

from __future__ import annotations

import uuid
from urllib.parse import unquote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from services.notifier.providers import jws
from services.notifier.providers.apns import CODES
from services.notifier.providers.fake.speaker import Speaker, Taken, as_json
from services.notifier.providers.pushes import OURS
from services.notifier.providers.wire import Account, Answer, HttpCall, json_object

NEEDED = {"apns-topic": "400 MissingTopic", "apns-push-type": "400 InvalidPushType", "apns-id": "400 BadMessageId"}


def take(call: HttpCall, account: Account, ref: str) -> Taken | Answer:  # noqa: ARG001  # the id is ours
    """Take a push with a token signed by the account's key."""
    if not _is_signed(call.headers.get("authorization", ""), account):
        return _error("403 InvalidProviderToken")
    missing = next((code for name, code in NEEDED.items() if not call.headers.get(name)), None)
    if missing or call.headers["apns-topic"] != account.settings["topic"]:
        return _error(missing or "400 TopicDisallowed")
    path, _, device = call.url.rpartition("/")
    said = json_object(call.body)
    if not path.endswith("/3/device") or "aps" not in said:
        return _error("400 PayloadEmpty" if path.endswith("/3/device") else "404 BadPath")
    alert, ours = said["aps"]["alert"], str(uuid.UUID(call.headers["apns-id"]))
    return Taken(ours, unquote(device), alert["body"], alert.get("title"), said.get(OURS))


def accept(taken: Taken) -> Answer:
    """Answer for a push that was taken."""
    return Answer(200, {"apns-id": taken.ref}, b"")


def refuse(_: Taken, code: str) -> Answer:
    """Answer with a reason."""
    return _error(code)


def _error(code: str) -> Answer:
    status, _, reason = code.partition(" ")
    return as_json(int(status), {"reason": reason})


def _is_signed(authorization: str, account: Account) -> bool:
    kind, _, token = authorization.partition(" ")
    signed, _, mac = token.rpartition(".")
    raw = jws.decoded(mac)
    key = load_pem_private_key(account.credentials["private_key"].encode(), None)
    if kind != "bearer" or len(raw) != 64 or not isinstance(key, EllipticCurvePrivateKey):
        return False
    signature = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    try:
        key.public_key().verify(signature, signed.encode(), ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return jws.unchecked(token).get("iss") == account.settings["team_id"]


SPEAKER = Speaker(take=take, accept=accept, refuse=refuse, codes=CODES)
