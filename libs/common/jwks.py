"""The keys of an identity provider (JWKS, RFC 7517): read from a file or a URL, cached, and refreshed at a limited rate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from jwt import PyJWK

from libs.common import logs
from libs.common.calling import Caller, CallFailedError, HttpCall, Limits
from libs.common.clock import Clock
from libs.common.settings import SettingsError, TokenSettings
from libs.common.tokens import Bearer, KeySetError, RefusedTokenError, Trust, judged, key_id, read_keys

KEPT = timedelta(minutes=10)
"""Keys are fetched again after this long, so that one the issuer has withdrawn is forgotten."""
ASKED_AGAIN = timedelta(seconds=30)
"""The shortest time between two fetches, however many unknown keys tokens name and however often a fetch fails."""
_LIMITS = Limits(at_once=1, answer_s=5.0)
_WANTED = {"accept": "application/jwk-set+json, application/json"}


class KeySource(Protocol):
    """Where the JWKS document comes from."""

    async def read(self) -> bytes:
        """Return the document; KeySetError where it is unavailable."""
        ...

    async def close(self) -> None:
        """Release what was opened."""
        ...


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A file on this machine; it may be replaced without telling us."""

    path: Path

    async def read(self) -> bytes:
        """Return the document."""
        try:
            return await asyncio.to_thread(self.path.read_bytes)
        except OSError as error:
            raise KeySetError(f"it cannot be read: {error.strerror}") from error

    async def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, slots=True)
class KeyAddress:
    """The URL where the issuer publishes the keys."""

    url: str
    caller: Caller = field(default_factory=lambda: Caller(_LIMITS))

    async def read(self) -> bytes:
        """Return the document."""
        try:
            answer = await self.caller.call(HttpCall(self.url, _WANTED, b"", "GET"))
        except CallFailedError as error:
            raise KeySetError(f"it was not answered: {error.why}") from error
        if answer.status != 200:
            raise KeySetError(f"it was answered with {answer.status}")
        return answer.body

    async def close(self) -> None:
        """Close the kept connection."""
        await self.caller.close()


@dataclass(slots=True)
class Tokens:
    """Tells who presents a token. Keys stay valid until others replace them: an issuer that does not answer locks nobody out."""

    trust: Trust
    source: KeySource
    clock: Clock
    _keys: Mapping[str, PyJWK] = field(default_factory=dict)
    _fetched_at: datetime | None = None
    _tried_at: datetime | None = None
    _fetching: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def bearer(self, token: str) -> Bearer | None:
        """Return who presents this token; None where it is not trusted."""
        try:
            return judged(token, await self._key(key_id(token)), self.trust, self.clock.now())
        except RefusedTokenError as refused:
            logs.get("auth").info("token_refused", reason=refused.reason)
            return None

    async def start(self) -> None:
        """Fetch the keys before the first token arrives; KeySetError where that fails."""
        self._keys, self._fetched_at = read_keys(await self.source.read()), self.clock.now()

    async def _key(self, kid: str) -> PyJWK:
        known = kid in self._keys
        if self._may_fetch and not (known and (self._are_fresh or self._fetching.locked())):
            await self._fetch()
        if (key := self._keys.get(kid)) is None:
            raise RefusedTokenError("unknown_kid")
        return key

    async def _fetch(self) -> None:
        """Fetch the keys again, once for everyone who waits."""
        async with self._fetching:
            if not self._may_fetch:
                return
            try:
                await self.start()
            except KeySetError as error:
                logs.get("auth").warning("keys_not_refreshed", reason=str(error)[:200])
            self._tried_at = self.clock.now()

    @property
    def _may_fetch(self) -> bool:
        return not _within(ASKED_AGAIN, self._tried_at, self.clock.now())

    @property
    def _are_fresh(self) -> bool:
        return _within(KEPT, self._fetched_at, self.clock.now())


@asynccontextmanager
async def judging(settings: TokenSettings | None, clock: Clock) -> AsyncIterator[Tokens | None]:
    """Judge tokens, if that is switched on; a file must hold keys at the start, an issuer may answer later."""
    if settings is None:
        yield None
        return
    source = KeyAddress(settings.keys) if isinstance(settings.keys, str) else KeyFile(settings.keys)
    tokens = Tokens(settings.trust, source, clock)
    try:
        if isinstance(source, KeyFile):
            await tokens.start()
        yield tokens
    except KeySetError as error:
        raise SettingsError(f"DUNWELL_JWT_JWKS_FILE: {error}") from error
    finally:
        await source.close()


def _within(span: timedelta, since: datetime | None, now: datetime) -> bool:
    """Tell whether less time than that has passed; a clock that went back counts as a long time."""
    return since is not None and timedelta(0) <= now - since < span
