"""Delivers messages to the URLs that tenants name: in order within each topic, at least once.

A place is taken under a lease, so that a single worker of all replicas advances it; if that worker is killed, the place waits until the
lease expires, and the next worker sends again what the first had in hand. No call lasts as long as a lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common import ids, logs, sealing
from libs.common.bus.ports import Message
from libs.common.calling import Caller, CallFailedError, HttpCall, Limits
from libs.common.clock import Clock, pause
from libs.common.feed import store as feed_store
from libs.common.feed.cursors import Cursor, place
from libs.common.feed.events import structured
from libs.common.feed.keeping import Bell
from libs.common.feed.store import Stream
from libs.common.repeating import repeat
from libs.common.sealing import SealError
from libs.common.tenant_settings import store as settings_store
from libs.common.tenant_settings.desk import context_of
from libs.common.tenant_settings.store import Kept
from libs.common.webhooks import store
from libs.common.webhooks.forms import Webhook, is_local
from libs.common.webhooks.metrics import WebhookMetrics
from libs.common.webhooks.retrying import asked_pause, given_up, pause_after
from libs.common.webhooks.signing import signed
from libs.common.webhooks.store import Place

LEASE = timedelta(seconds=30)
"""Longer than a call can last (`libs.common.calling.Limits`): once a lease has expired, its holder is no longer calling."""
AT_ONCE = 32
READ = 500
"""The most messages read for one call, where only some types are wanted."""
CALLS_A_LEASE = 50
LOOK_EVERY_S = 1.0
BY = "dunwell"
"""Who is recorded for switching a webhook off."""


class _Webhooks(msgspec.Struct, frozen=True):
    """The part of the settings that the worker needs."""

    webhooks: tuple[Webhook, ...] = ()


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A webhook with its secret."""

    webhook: Webhook
    secret: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call was not accepted, and how long its receiver wants to be left alone."""

    error: str
    status: int | None = None
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """What one call carries, and the place reached once it is accepted; no events if only other types came."""

    events: Sequence[tuple[Cursor, Message]]
    reaches: Cursor

    def call(self, of: Subscribed, about: Place, now: datetime) -> HttpCall:
        """Return the signed call; its id derives from its events, so a retry has the same one."""
        said = [structured(message, at) for at, message in self.events]
        one = of.webhook.batch == 1
        body = msgspec.json.encode(said[0] if one else said)
        name = ids.derived("w", about.tenant, about.topic, self.events[0][0].text, self.events[-1][0].text)
        kind = "application/cloudevents+json" if one else "application/cloudevents-batch+json"
        return HttpCall(of.webhook.url, {"content-type": kind, **signed(of.secret, name, int(now.timestamp()), body)}, body)


@dataclass(slots=True)
class Deliverer:
    """The worker."""

    engine: AsyncEngine
    clock: Clock
    schema: str
    key: bytes
    bell: Bell
    metrics: WebhookMetrics
    local: bool = False
    _public: Caller = field(default_factory=lambda: Caller(Limits(at_once=AT_ONCE), public_only=True))
    _here: Caller = field(default_factory=lambda: Caller(Limits(at_once=AT_ONCE)))

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver messages until stopped."""
        try:
            await repeat(lambda: self._until_stopped(stop), stop, every_s=0, worker=f"{self.schema}/webhooks")
        finally:
            await self.close()

    async def close(self) -> None:
        """Close the kept connections."""
        await self._public.close()
        await self._here.close()

    async def _until_stopped(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            bell = self.bell.next
            if not await self.pass_once(stop):
                await pause(stop, LOOK_EVERY_S, wake=bell)

    async def pass_once(self, stop: asyncio.Event | None = None) -> int:
        """Advance every place with something waiting, and return the number of places."""
        async with self.engine.begin() as conn:
            now = await self.clock.at(conn)
            places = await store.lease(conn, self.schema, ids.fresh(), now=now, until=now + LEASE, most=AT_ONCE)
            tenants = [one.tenant for one in places]
            settings = await settings_store.current(conn, self.schema, tenants) if places else {}
            secrets = await store.secrets(conn, self.schema, tenants) if places else {}
            self.metrics.show(await store.tally(conn, self.schema))
        subscribed = self._subscribed(settings, secrets)
        await asyncio.gather(*[self._advance(one, subscribed.get((one.tenant, one.webhook_id)), stop) for one in places])
        return len(places)

    def _subscribed(
        self, settings: Mapping[str, Kept], secrets: Mapping[tuple[str, str], bytes]
    ) -> dict[tuple[str, str], Subscribed]:  # fmt: skip
        found = {}
        for tenant, kept in settings.items():
            for webhook in msgspec.json.decode(kept.settings, type=_Webhooks).webhooks:
                try:
                    plain = sealing.unseal(secrets[tenant, webhook.id], self.key, context_of(tenant, webhook.id))
                except (KeyError, SealError):
                    logs.get("webhooks").error("secret_unreadable", tenant=tenant, webhook=webhook.id)
                    continue
                found[tenant, webhook.id] = Subscribed(webhook, plain.decode())
        return found

    async def _advance(self, about: Place, of: Subscribed | None, stop: asyncio.Event | None) -> None:
        """Make calls until nothing is waiting, one is not accepted, or it is the turn of others."""
        at: Place | None = about
        for _ in range(CALLS_A_LEASE):
            if of is None or at is None or (stop is not None and stop.is_set()):
                break
            if (load := await self._load(at, of.webhook)) is None:
                break
            at = await self._carry(at, of, load)
        if at is not None:
            async with self.engine.begin() as conn:
                await store.release(conn, self.schema, at)

    async def _load(self, about: Place, webhook: Webhook) -> Load | None:
        """Return what to send next, or None when nothing is waiting."""
        stream = Stream(self.schema, about.tenant, about.topic)
        async with self.engine.connect() as conn:
            standing = await feed_store.standing(conn, stream, about.after)
            if (behind := place(about.after, standing)) is None:
                self.metrics.expired.inc(standing.begins - about.after.number)
                logs.get("webhooks").error("events_expired", tenant=about.tenant, webhook=about.webhook_id)
                behind = standing.begins
            found = await feed_store.read(conn, stream, behind, webhook.batch if webhook.types is None else READ)
        if not found:
            return None
        wanted = [one for one in found if webhook.types is None or _type_of(one[1]) in webhook.types]
        events = wanted[: webhook.batch]
        return Load(events, events[-1][0] if len(wanted) > len(events) else found[-1][0])

    async def _carry(self, about: Place, of: Subscribed, load: Load) -> Place | None:
        """Make one call, and return the place reached; None where it was not accepted or another worker has the place."""
        if load.events and (refusal := await self._refusal(load.call(of, about, self.clock.now()))) is not None:
            self.metrics.calls.labels("refused").inc()
            await self._note(about, refusal)
            return None
        async with self.engine.begin() as conn:
            now = await self.clock.at(conn)
            held = await store.advance(conn, self.schema, about, to=load.reaches, now=now, until=now + LEASE)
        self.metrics.calls.labels("taken").inc(len(load.events) > 0)
        return replace(about, after=load.reaches, tries=0, failing_since=None) if held else None

    async def _refusal(self, call: HttpCall) -> Refusal | None:
        """Make a call, and return why it was not accepted, or None."""
        caller = self._here if self.local and is_local(call.url) else self._public
        try:
            answer = await caller.call(call)
        except CallFailedError as failed:
            return Refusal(failed.why)
        if 200 <= answer.status < 300:
            return None
        return Refusal(f"http_{answer.status}", answer.status, asked_pause(answer.headers.get("retry-after"), self.clock.now()))

    async def _note(self, about: Place, refusal: Refusal) -> None:
        """Record that a call was not accepted and when to make the next one, or that there will be none."""
        wait = pause_after(about.tries, f"{about.tenant}/{about.webhook_id}/{about.topic}", refusal.retry_after)
        async with self.engine.begin() as conn:
            now = await self.clock.at(conn)
            if not await store.note_failure(conn, self.schema, about, error=refusal.error, next_at=now + wait, now=now):
                return
            because = given_up(refusal.status, refusal.error, about.failing_since, now)
            if because is not None:
                await self._switch_off(conn, about, because, now)

    async def _switch_off(self, conn: AsyncConnection, about: Place, because: str, now: datetime) -> None:
        """Set a webhook inactive, as its tenant would; if the settings change at the same moment, leave it for the next failure."""
        kept = (await settings_store.current(conn, self.schema, [about.tenant])).get(about.tenant)
        if kept is None:
            return
        said = msgspec.json.decode(kept.settings)
        for webhook in said["webhooks"]:
            webhook["active"] = webhook["active"] and webhook["id"] != about.webhook_id
        if await settings_store.put(conn, self.schema, Kept(about.tenant, kept.version + 1, msgspec.json.encode(said), BY, now)):
            await store.switch_off(conn, self.schema, about, because, now=now)
            logs.get("webhooks").warning("switched_off", tenant=about.tenant, webhook=about.webhook_id, reason=because[:200])


def _type_of(message: Message) -> str:
    return dict(message.headers)["ce_type"].decode()
