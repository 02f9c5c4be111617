"""Reads and writes a tenant's settings of a service."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common import sealing
from libs.common.api import read_as
from libs.common.auth import Principal
from libs.common.clock import Clock
from libs.common.errors import NOT_JSON, DomainError
from libs.common.preconditions import expect, tag_of
from libs.common.settings import Outlets
from libs.common.tenant_settings import store
from libs.common.tenant_settings.forms import ServiceSettings
from libs.common.tenant_settings.store import Kept
from libs.common.webhooks import store as places
from libs.common.webhooks.forms import Webhook, checked, without_secrets

S = TypeVar("S", bound=ServiceSettings)


@dataclass(frozen=True, slots=True)
class SettingsDesk(Generic[S]):
    """The settings of one service, of this form."""

    engine: AsyncEngine
    clock: Clock
    schema: str
    form: type[S]
    topics: frozenset[str]
    outlets: Outlets

    async def current(self, tenant: str) -> tuple[S, Kept | None, Sequence[places.WebhookHealth]]:
        """Return the settings in force, their version (None: nothing was ever set), and the health of the webhooks."""
        async with self.engine.connect() as conn:
            kept = (await store.current(conn, self.schema, [tenant])).get(tenant)
            return self.read(kept), kept, await places.health(conn, self.schema, tenant)

    async def history(self, tenant: str, *, below: int | None, limit: int) -> list[Kept]:
        """Return earlier versions, newest first."""
        async with self.engine.connect() as conn:
            return await store.history(conn, self.schema, tenant, below=below, limit=limit)

    def read(self, kept: Kept | None) -> S:
        """Return the settings in a stored version."""
        return self.form() if kept is None else msgspec.json.decode(kept.settings, type=self.form)

    async def put(self, caller: Principal, body: bytes, if_match: str | None) -> Kept:
        """Replace all settings, if the caller has seen the present ones."""
        wanted = read_as(self.form, _inner(body), code="invalid_settings", what="settings")
        self._check(wanted.webhooks)
        async with self.engine.begin() as conn:
            before = (await store.current(conn, self.schema, [caller.tenant])).get(caller.tenant)
            version = before.version if before else 0
            expect(if_match, tag_of(version))
            now = await self.clock.at(conn)
            plain = msgspec.structs.replace(wanted, webhooks=without_secrets(wanted.webhooks))
            kept = Kept(caller.tenant, version + 1, msgspec.json.encode(plain), caller.actor, now)
            if not await store.put(conn, self.schema, kept):
                expect("", tag_of(version + 1))
            await self._put_secrets(conn, caller.tenant, wanted.webhooks)
            await places.put(conn, self.schema, caller.tenant, wanted.webhooks, now=now)
        return kept

    def _check(self, webhooks: Sequence[Webhook]) -> None:
        checked(webhooks, self.topics, local=self.outlets.local)
        if webhooks and not self.outlets.keeps_feed:
            raise DomainError(422, "feed_off", "$.webhooks: this service keeps no feed to deliver: DUNWELL_FEED is off")
        if webhooks and self.outlets.webhook_key is None:
            raise DomainError(422, "no_webhook_key", "$.webhooks: this service has no key to keep secrets under: set DUNWELL_WEBHOOK_KEY")

    async def _put_secrets(self, conn: AsyncConnection, tenant: str, webhooks: Sequence[Webhook]) -> None:
        """Keep the given secrets; each webhook must have one, new or kept from before."""
        ids = [webhook.id for webhook in webhooks]
        await places.forget_secrets(conn, self.schema, tenant, but=ids)
        known = {name for _, name in await places.secrets(conn, self.schema, [tenant])}
        given = {webhook.id: webhook.secret for webhook in webhooks if webhook.secret is not None}
        for at, name in enumerate(ids):
            if name not in known | given.keys():
                raise DomainError(422, "invalid_settings", f"$.webhooks[{at}].secret: a new webhook needs one")
        if given and (key := self.outlets.webhook_key) is not None:
            public = sealing.public_of(key)
            sealed = {name: sealing.seal(secret.encode(), public, context_of(tenant, name)) for name, secret in given.items()}
            await places.put_secrets(conn, self.schema, tenant, sealed)


def _inner(body: bytes) -> bytes:
    """Extract the settings from a whole answer that was read, changed and sent back."""
    with contextlib.suppress(*NOT_JSON):
        given = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        return bytes(given.get("settings", body))
    return body


def context_of(tenant: str, webhook_id: str) -> str:
    """Return the context that a secret is sealed with, so that it cannot be moved to another webhook."""
    return f"webhook/{tenant}/{webhook_id}"


def plain(settings: ServiceSettings) -> dict[str, Any]:
    """Return settings as they are shown."""
    said: dict[str, Any] = msgspec.to_builtins(settings)
    for webhook in said["webhooks"]:
        del webhook["secret"]
    return said
