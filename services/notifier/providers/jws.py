"""JSON Web Tokens as providers use them: ours signed with a private key, theirs checked with a shared one."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from services.notifier.providers.wire import json_object

LEEWAY = timedelta(seconds=30)
SHARED = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}


def sign_rs256(claims: Mapping[str, Any], pem: str, headers: Mapping[str, str]) -> str:
    """Return a token signed with an RSA key."""
    key = load_pem_private_key(pem.encode(), None)
    if not isinstance(key, RSAPrivateKey):
        raise TypeError("an RSA key is needed")
    signed = f"{_encode(msgspec.json.encode({'alg': 'RS256', 'typ': 'JWT', **headers}))}.{_encode(msgspec.json.encode(claims))}"
    return f"{signed}.{_encode(key.sign(signed.encode(), PKCS1v15(), SHA256()))}"


def sign_es256(claims: Mapping[str, Any], pem: str, headers: Mapping[str, str]) -> str:
    """Return a token signed with a key on the curve P-256."""
    key = load_pem_private_key(pem.encode(), None)
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise TypeError("a P-256 key is needed")
    signed = f"{_encode(msgspec.json.encode({'alg': 'ES256', **headers}))}.{_encode(msgspec.json.encode(claims))}"
    r, s = decode_dss_signature(key.sign(signed.encode(), ECDSA(SHA256())))
    return f"{signed}.{_encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def sign_shared(claims: Mapping[str, Any], key: str) -> str:
    """Return a token signed with a shared key, as a provider signs its own."""
    signed = f"{_encode(msgspec.json.encode({'alg': 'HS256', 'typ': 'JWT'}))}.{_encode(msgspec.json.encode(claims))}"
    return f"{signed}.{_encode(hmac.digest(key.encode(), signed.encode(), hashlib.sha256))}"


def claims_of(token: str, key: str, now: datetime, *, issuer: str) -> dict[str, Any] | None:
    """Return the claims of a token signed with a shared key, by this issuer and valid at this time; otherwise None."""
    head, _, rest = token.partition(".")
    body, _, mac = rest.partition(".")
    method = SHARED.get(str(json_object(decoded(head)).get("alg")))
    if method is None or not hmac.compare_digest(hmac.digest(key.encode(), f"{head}.{body}".encode(), method), decoded(mac)):
        return None
    claims = json_object(decoded(body))
    begins, ends = claims.get("nbf"), claims.get("exp")
    if claims.get("iss") != issuer or not isinstance(begins, int) or not isinstance(ends, int):
        return None
    at, leeway = now.timestamp(), LEEWAY.total_seconds()
    return claims if begins - leeway <= at <= ends + leeway else None


def unchecked(token: str) -> dict[str, Any]:
    """Return a token's claims, unverified."""
    return json_object(decoded(token.partition(".")[2].partition(".")[0]))


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decoded(text: str) -> bytes:
    """Return the bytes of a part; empty if it is not valid base64."""
    try:
        return base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return b""
