"""Judging JSON Web Tokens of an identity provider: signature, issuer, audience, time, and what they say of the caller (decision 0020)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK
from jwt.types import Options
from msgspec import Meta, Struct

ALGORITHMS = ("RS256", "ES256", "EdDSA")
"""Accepted signature algorithms: each key supports one of them, and none is verified with a shared secret."""
LEEWAY = timedelta(seconds=30)
"""How far the issuer's clock may differ from ours."""
LONGEST = 8192
_KINDS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
"""A key's algorithm by its type and curve."""
_RSA_BITS = 2048
_TYPES = (None, "jwt", "at+jwt", "application/at+jwt")
"""Token types that give access; a logout token or a proof of possession is signed with the same keys."""
_TENANT = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DECODE_OPTIONS: Options = {
    "require": ["iss", "aud", "exp", "sub"],
    "verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_sub": False, "verify_jti": False,
}  # fmt: skip
"""Times are not left to the library, which has a clock of its own."""


class KeySetError(Exception):
    """A JWKS document has no usable key."""


class RefusedTokenError(Exception):
    """A token that is not trusted; `reason` is from a closed set, for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose tokens, and for whom, are trusted, and the names of the claims that no standard names."""

    issuer: str
    audience: str
    tenant_claim: str = "tenant"
    scope_claim: str = "scope"
    person_claim: str = "person"


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who presents a token: whom the issuer means by `sub`, and whether that is a person."""

    tenant: str
    subject: str
    is_person: bool
    scopes: frozenset[str]


class _KeySet(Struct):
    keys: list[dict[str, Any]]


class _Claims(Struct):
    """The claims whose names are fixed."""

    sub: Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,128}$(?!\n)")]
    exp: float
    nbf: float | None = None


def is_token(text: str) -> bool:
    """Tell whether this looks like a JWT: it has three parts; a key of ours has one."""
    return text.count(".") == 2


def read_keys(document: bytes) -> dict[str, PyJWK]:
    """Return the usable public keys of a JWKS document by `kid`; KeySetError where there is none."""
    try:
        said = msgspec.json.decode(document, type=_KeySet)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise KeySetError(f"it is not a JWKS: {error}") from error
    keys = {one["kid"]: key for one in reversed(said.keys) if (key := _usable(one)) is not None}
    if not keys:
        raise KeySetError(f"none of its {len(said.keys)} keys is a public one with a kid for {', '.join(ALGORITHMS)}")
    return keys


def _usable(said: Mapping[str, Any]) -> PyJWK | None:
    """Return a key for one of our algorithms; None for secrets, private keys, short keys, and keys for something else."""
    kind, curve, kid = (said.get(name) for name in ("kty", "crv", "kid"))
    algorithm = _KINDS.get((kind, curve)) if isinstance(kind, str) and isinstance(curve, str | None) else None
    if algorithm is None or not isinstance(kid, str) or "d" in said:
        return None
    if said.get("alg", algorithm) != algorithm or said.get("use", "sig") != "sig":
        return None
    try:
        key = PyJWK(dict(said), algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    short = isinstance(key.key, RSAPublicKey) and key.key.key_size < _RSA_BITS
    return None if short else key


def key_id(token: str) -> str:
    """Return the key that a token says it was signed with; nothing else in it is trusted yet."""
    if len(token) > LONGEST:
        raise RefusedTokenError("too_long")
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        raise RefusedTokenError("malformed") from None
    kind, kid = header.get("typ"), header.get("kid")
    if (kind.lower() if isinstance(kind, str) else kind) not in _TYPES:
        raise RefusedTokenError("wrong_type")
    if not isinstance(kid, str):
        raise RefusedTokenError("no_kid")
    return kid


def judged(token: str, key: PyJWK, trust: Trust, now: datetime) -> Bearer:
    """Return who presents this token, or refuse it."""
    claims = _signed(token, key, trust)
    try:
        fixed = msgspec.convert(claims, _Claims)
    except (msgspec.ValidationError, OverflowError):
        raise RefusedTokenError("claims_missing") from None
    at, leeway = now.timestamp(), LEEWAY.total_seconds()
    if not at < fixed.exp + leeway:
        raise RefusedTokenError("expired")
    if fixed.nbf is not None and not fixed.nbf - leeway <= at:
        raise RefusedTokenError("not_yet_valid")
    tenant = claims.get(trust.tenant_claim)
    if not isinstance(tenant, str) or _TENANT.fullmatch(tenant) is None:
        raise RefusedTokenError("no_tenant")
    return Bearer(tenant, fixed.sub, claims.get(trust.person_claim) is True, _scopes(claims.get(trust.scope_claim)))


def _signed(token: str, key: PyJWK, trust: Trust) -> dict[str, Any]:
    """Return the claims signed with this key, by this issuer and for this audience."""
    try:
        claims: dict[str, Any] = jwt.decode(
            token, key, algorithms=ALGORITHMS, issuer=trust.issuer, audience=trust.audience, options=_DECODE_OPTIONS
        )
    except (jwt.InvalidIssuerError, jwt.InvalidAudienceError) as error:
        raise RefusedTokenError("wrong_issuer" if isinstance(error, jwt.InvalidIssuerError) else "wrong_audience") from None
    except jwt.MissingRequiredClaimError:
        raise RefusedTokenError("claims_missing") from None
    except jwt.PyJWTError:
        raise RefusedTokenError("bad_signature") from None
    return claims


def _scopes(said: object) -> frozenset[str]:
    """Return scopes from OAuth's string or a list; anything else gives none."""
    words = said.split() if isinstance(said, str) else said if isinstance(said, list) else ()
    return frozenset(word for word in words if isinstance(word, str))
