"""An identity provider for tests: real keys, the document that publishes them, and tokens signed by it or by a forger."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from libs.common.tokens import Trust
from tests.support.running import served

ISSUER = "https://id.example/realms/lender"
AUDIENCE = "dunwell"
TRUST = Trust(ISSUER, AUDIENCE)
ALGORITHMS = ("RS256", "ES256", "EdDSA")


@cache
def private_key(algorithm: str, name: str) -> Any:
    """Return the key with this name, made once per run."""
    match algorithm:
        case "RS256":
            return rsa.generate_private_key(65537, 2048)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case _:
            return ed25519.Ed25519PrivateKey.generate()


def public_jwk(algorithm: str, kid: str) -> dict[str, Any]:
    """Return the public half as an issuer publishes it."""
    kinds: dict[str, Any] = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}
    made: dict[str, Any] = kinds[algorithm].to_jwk(private_key(algorithm, kid).public_key(), as_dict=True)
    return {**made, "kid": kid, "use": "sig", "alg": algorithm}


@dataclass
class Issuer:
    """Signs with keys chosen by `kid` (by default the algorithm's name), and publishes all of them over HTTP."""

    keys: dict[str, str] = field(default_factory=lambda: {algorithm: algorithm for algorithm in ALGORITHMS})
    """The algorithm of each `kid`."""
    asked: int = 0
    status: int = 200
    body: bytes | None = None

    @property
    def document(self) -> bytes:
        """Return the JWKS document."""
        return json.dumps({"keys": [public_jwk(algorithm, kid) for kid, algorithm in self.keys.items()]}).encode()

    def token(self, now: datetime, kid: str = "RS256", *, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """Return a token for mei, a person without any scope yet; a claim that is None is left out."""
        said = claims_at(now) | claims
        algorithm = self.keys[kid]
        kept = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(kept, private_key(algorithm, kid), algorithm, headers={"kid": kid} | (headers or {}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the document."""
        assert Request(scope, receive).method == "GET"
        self.asked += 1
        await Response(self.document if self.body is None else self.body, self.status, media_type="application/json")(scope, receive, send)


@asynccontextmanager
async def published(issuer: Issuer) -> AsyncIterator[str]:
    """The document on a real loopback server, and its URL."""
    async with served(issuer) as url:
        yield f"{url}/certs"


def claims_at(now: datetime) -> dict[str, Any]:
    """Return the claims of an ordinary token."""
    at = int(now.timestamp())
    return {
        "iss": ISSUER, "aud": AUDIENCE, "sub": "mei", "iat": at, "exp": at + int(timedelta(minutes=5).total_seconds()),
        "tenant": "default", "scope": "openid profile", "person": True,
    }  # fmt: skip


def forged(now: datetime, algorithm: str, kid: str, secret: bytes, **claims: Any) -> str:
    """Return a token as a forger makes one: with an algorithm that needs only public data."""
    header = _part({"alg": algorithm, "typ": "JWT", "kid": kid})
    signed = f"{header}.{_part(claims_at(now) | claims)}"
    mac = b"" if algorithm.lower() == "none" else hmac.digest(secret, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def public_pem(kid: str, algorithm: str = "RS256") -> bytes:
    """Return the public half of a key."""
    made: bytes = private_key(algorithm, kid).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return made


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
