"""Who is calling: keys of tenants and persons, stored hashed, with scopes, and tokens of an identity provider."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from fastapi import Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.clock import Clock
from libs.common.db.failures import is_transient
from libs.common.errors import DomainError
from libs.common.jwks import Tokens
from libs.common.parameters import Parameters
from libs.common.patience import answered
from libs.common.tokens import Bearer, is_token

SCOPES = (
    "events:write", "loans:read", "products:write", "cases:read", "cases:write", "cases:approve", "policies:write", "policies:approve",
    "templates:write", "contacts:read", "contacts:write", "pii:read", "ops",
)  # fmt: skip
OF_PERSONS = frozenset({"policies:approve"})
"""Scopes that no machine gets, whatever its token says."""
SCHEME = "key"
"""OpenAPI's name for the security scheme."""
CACHED_FOR = timedelta(seconds=15)
TRUSTED_FOR = timedelta(hours=1)
"""How long after its last look-up a key stays valid while the database is down: nobody can revoke it then, and events need no database."""
LOOKED_UP_WITHIN_S = 1.0
"""A caller whose key was found before waits no longer than this for a database that does not answer."""
CACHE_SIZE = 10_000
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="dunwell"'}
_FORWARDING = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller: a tenant, perhaps one of its people, and what they may do."""

    tenant: str
    person: str | None
    scopes: frozenset[str]
    loopback_only: bool = False
    subject: str | None = None
    """The identity provider's name for a caller with its token, a person or a machine; None for a caller with a key."""

    @property
    def name(self) -> str | None:
        """Return the name of a person or machine; None for a tenant's key, which has none."""
        return self.person or self.subject

    @property
    def actor(self) -> str:
        """Return who is recorded for what this caller does: a person, a machine, or `key` for a key of the tenant."""
        return self.name or "key"


def new_token() -> str:
    """Return a new key: 256 random bits, so a plain hash of it is enough to store."""
    return f"dw_{secrets.token_urlsafe(32)}"


def hashed(token: str) -> bytes:
    """Return the hash that is stored of a key."""
    return hashlib.sha256(token.encode()).digest()


async def add_key(conn: AsyncConnection, schema: str, token: str, principal: Principal) -> None:
    """Store a key; storing it again replaces it."""
    await conn.execute(
        text(
            f"insert into {schema}.api_keys (key_hash, tenant, person, scopes, loopback_only)"  # the schema is ours
            " values (:hash, :tenant, :person, :scopes, :loopback_only)"
            " on conflict (key_hash) do update set tenant = excluded.tenant, person = excluded.person, scopes = excluded.scopes,"
            " loopback_only = excluded.loopback_only"
        ),
        {
            "hash": hashed(token), "tenant": principal.tenant, "person": principal.person,
            "scopes": sorted(principal.scopes), "loopback_only": principal.loopback_only,
        },
    )  # fmt: skip


async def remove_key(conn: AsyncConnection, schema: str, token: str) -> None:
    """Forget a key."""
    await conn.execute(text(f"delete from {schema}.api_keys where key_hash = :hash"), {"hash": hashed(token)})


@dataclass(frozen=True, slots=True)
class _Found:
    """Whose key it is, if anybody's; when that was looked up, and until when it is not looked up again."""

    principal: Principal | None
    at: datetime
    until: datetime


@dataclass(slots=True)
class Keys:
    """Looks keys up in this service's schema; results are cached for a few seconds."""

    engine: AsyncEngine
    schema: str
    clock: Clock
    tokens: Tokens | None = None
    _cache: dict[bytes, _Found] = field(default_factory=dict)

    async def principal(self, token: str) -> Principal | None:
        """Return whose key or token this is, or None."""
        if self.tokens is not None and is_token(token):
            bearer = await self.tokens.bearer(token)
            return None if bearer is None else caller_of(bearer)
        key, now = hashed(token), self.clock.now()
        if (cached := self._cache.get(key)) is None or cached.until <= now:
            cached = await self._looked_up(key, cached, now)
            if len(self._cache) >= CACHE_SIZE:
                self._cache.clear()
            self._cache[key] = cached
        return cached.principal

    async def _looked_up(self, key: bytes, before: _Found | None, now: datetime) -> _Found:
        until = now + CACHED_FOR
        if before is None or before.principal is None or before.at + TRUSTED_FOR <= now:
            return _Found(await self._find(key), now, until)
        try:
            return _Found(await answered(self._find(key), LOOKED_UP_WITHIN_S), now, until)
        except Exception as error:
            if not is_transient(error):
                raise
            return replace(before, until=until)

    async def _find(self, key: bytes) -> Principal | None:
        async with self.engine.connect() as conn:
            row = (
                await conn.execute(
                    text(
                        f"select tenant, person, scopes, loopback_only from {self.schema}.api_keys"
                        " where key_hash = :hash and (expires_at is null or expires_at > clock_timestamp())"
                    ),
                    {"hash": key},
                )
            ).one_or_none()
        return Principal(row.tenant, row.person, frozenset(row.scopes), row.loopback_only) if row else None


def caller_of(bearer: Bearer) -> Principal:
    """Return what a token's bearer may do here: scopes that are not ours are ignored, and some are never a machine's."""
    scopes = bearer.scopes & frozenset(SCOPES)
    if bearer.is_person:
        return Principal(bearer.tenant, bearer.subject, scopes, subject=bearer.subject)
    return Principal(bearer.tenant, None, scopes - OF_PERSONS, subject=bearer.subject)


class Requires(SecurityBase):
    """Lets in callers with the scope; the keys are the app's own (`app.state.keys`). OpenAPI takes the scope from the scheme's name.

    Callers with a key write their own calls, so they are told about a parameter that the call does not have. Links and callbacks, which
    have no key, pass through third parties, who add some.
    """

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self.scheme_name = f"{SCHEME}/{scope}"
        self.model = HTTPBearer(
            description="`Authorization: Bearer <key or JWT>`: a key made by `dunwell keys create`,"
            " or, where that is switched on, an access token of the identity provider"
        )

    async def __call__(self, request: Request) -> Principal:
        """Return the caller, or refuse."""
        principal = await _identify(request)
        if self.scope not in principal.scopes:
            raise DomainError(403, "forbidden", f"this key or token lacks the scope {self.scope}")
        parameters: Parameters = request.app.state.parameters
        parameters.expect_known(request)
        return principal


def requires(scope: str) -> Requires:
    """Return the dependency of a route that requires this scope."""
    return Requires(scope)


def token_of(authorization: str) -> str | None:
    """Return the token of an `Authorization` header, or None where it holds none."""
    kind, _, token = authorization.partition(" ")
    return token.strip() or None if kind.lower() == "bearer" else None


async def _identify(request: Request) -> Principal:
    token = token_of(request.headers.get("authorization", ""))
    keys: Keys = request.app.state.keys
    principal = await keys.principal(token) if token is not None else None
    if principal is None or (principal.loopback_only and any(name in request.headers for name in _FORWARDING)):
        raise DomainError(401, "unauthenticated", "a valid key or token is needed: Authorization: Bearer <key or JWT>", headers=_CHALLENGE)
    return principal
