"""Asks ingest and the notifier over HTTP, with the tenant's service key or else the caller's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

from libs.common.errors import NOT_JSON

TIMEOUT_S = 10.0
MOST_PAGES = 200


class NoAnswerError(Exception):
    """Another service could not be asked, or gave no usable answer; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Asking:
    """On whose behalf another service is asked: the tenant, and the caller's `Authorization` header."""

    tenant: str
    authorization: str | None


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Clients of the other services by name; one that is missing cannot be asked."""

    clients: Mapping[str, httpx.AsyncClient] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    """Service keys by tenant."""

    async def read(self, service: str, path: str, asking: Asking, /, **params: str) -> Any:
        """Return a service's answer to a GET; None if it answers 404."""
        return await self._call(service, "GET", path, asking, params=params)

    async def ask(self, service: str, path: str, asking: Asking, body: Mapping[str, Any]) -> Any:
        """Return a service's answer to a POST; None if it answers 404."""
        return await self._call(service, "POST", path, asking, json=body)

    async def _call(self, service: str, method: str, path: str, asking: Asking, **sent: Any) -> Any:
        client, key = self.clients.get(service), self.keys.get(asking.tenant)
        authorization = f"Bearer {key}" if key is not None else asking.authorization
        if client is None or authorization is None:
            raise NoAnswerError(
                f"{service}: its address is not configured here" if client is None else f"{service}: there is no key for it"
            )
        try:
            answered = await client.request(method, path, headers={"Authorization": authorization}, timeout=TIMEOUT_S, **sent)
            if answered.status_code == httpx.codes.NOT_FOUND:
                return None
            if answered.status_code != httpx.codes.OK:
                raise NoAnswerError(f"{service}: it answered {answered.status_code} to {path}")
            return msgspec.json.decode(answered.content)
        except httpx.HTTPError as error:
            raise NoAnswerError(f"{service}: it did not answer {path} ({type(error).__name__})") from error
        except NOT_JSON as error:
            raise NoAnswerError(f"{service}: its answer to {path} is not JSON") from error

    async def read_all(self, service: str, path: str, asking: Asking, /, **params: str) -> list[Any]:
        """Return a whole list, fetched page by page."""
        items: list[Any] = []
        for _ in range(MOST_PAGES):
            found = await self.read(service, path, asking, **params)
            if found is None:
                return items
            items += found["items"]
            if not found["next"]:
                return items
            params = {**params, "cursor": found["next"]}
        raise NoAnswerError(f"{service}: {path} has no end")

    async def close(self) -> None:
        """Close the clients."""
        for client in self.clients.values():
            await client.aclose()
