"""The texts of all tenants: shipped ones in files, their own in the database, found by name, channel and the reader's locale."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common import logs
from libs.common.contracts.contact_tasks import ContactRequested
from libs.common.locales import written_for
from libs.common.page_links import PageLinks
from libs.common.shipped import written_in
from libs.common.tenant_settings import store as settings
from libs.compliance.house import House
from services.notifier.domain.locales import fallback
from services.notifier.domain.message import Lender, TextRef
from services.notifier.domain.replies import CONFIRMATION
from services.notifier.domain.tenant import TenantSettings
from services.notifier.rendering import Compiled, RenderError, Source, compiled
from services.notifier.store import templates
from services.notifier.tables import SCHEMA
from services.notifier.vetting import RefusedError

SHIPPED = 0
"""The version of the texts that come with the product."""
KEPT_COMPILED = 4096
"""Cached texts of tenants; a version never changes, so the cache is never stale."""
_SUFFIX = ".yaml"
_settings = msgspec.json.Decoder(TenantSettings).decode
Place = tuple[str, str, str]
"""Name, locale, channel."""


class Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A shipped text for one channel."""

    body: str
    subject: str | None = None


class WrittenFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A shipped file: one name in one locale, for every channel."""

    purpose: str
    sms: Written
    email: Written
    push: Written
    inbox: Written


@dataclass(frozen=True, slots=True)
class Shipped:
    """A text that comes with the product, as written and compiled."""

    source: Source
    purpose: str
    text: Compiled


@dataclass(frozen=True, slots=True)
class Shelf:
    """The texts that one claim may use, as published in its transaction."""

    shipped: Mapping[Place, Shipped]
    own: Mapping[tuple[str, Place], Compiled | None]
    """By tenant and place; None for a text that this release no longer allows."""
    settings: Mapping[str, TenantSettings]
    links: PageLinks | None = None

    def find(self, tenant: str, name: str, channel: str, *, locale: str | None, language: str | None = None) -> Compiled:
        """Return the text for a reader, in the requested language if there is one.

        In each locale the tenant's own text comes before the shipped one; RenderError when there is none.
        """
        for step in fallback(language, locale, self._of(tenant).default_locale):
            place = (name, step, channel)
            if (tenant, place) in self.own:
                if (own := self.own[tenant, place]) is None:
                    raise RenderError(f"the text {name[:64]!r} in {step} contains what is no longer allowed")
                return own
            if place in self.shipped:
                return self.shipped[place].text
        raise RenderError(f"there is no template {name[:64]!r} for {channel} in any locale of the reader")

    def sums_in(self, tenant: str, text: TextRef, *readers: str | None) -> str:
        """Return the locale in which sums are written in a text for this reader."""
        return written_for(text.locale, *readers, self._of(tenant).default_locale)

    def lender(self, tenant: str) -> Lender:
        """Return who is speaking."""
        return self._of(tenant).lender(tenant)

    def link(self, tenant: str, request: ContactRequested, channel: str) -> str | None:
        """Return the link to the reader's own page; our confirmations have none, and a tenant may not want links on a channel."""
        if self.links is None or request.step == CONFIRMATION or channel not in self._of(tenant).link_channels:
            return None
        return self.links.of(tenant, request.task_id)

    def house(self, tenant: str) -> House:
        """Return how a tenant wants to be judged."""
        return self._of(tenant).house

    def _of(self, tenant: str) -> TenantSettings:
        return self.settings.get(tenant, _NOTHING_SET)


_NOTHING_SET = TenantSettings()


@dataclass(slots=True)
class Texts:
    """Shipped texts, and tenants' texts that were used recently."""

    shipped: Mapping[Place, Shipped]
    links: PageLinks | None = None
    _kept: dict[tuple[str, str, int], Compiled | None] = field(default_factory=dict)

    @classmethod
    def load(cls, links: PageLinks | None = None) -> Texts:
        """Load the shipped texts, with none of any tenant yet."""
        return cls(_shipped(), links)

    async def laid_out(self, conn: AsyncConnection, wanted: Iterable[tuple[str, str]]) -> Shelf:
        """Return what is published now under these (tenant, name), with the tenants' settings."""
        names = set(wanted)
        published = await templates.published(conn, names)
        ready = await self._ready(conn, {(tenant, ref.name, ref.version) for tenant, ref in published})
        own = {(tenant, (ref.name, ref.locale, ref.channel)): ready[tenant, ref.name, ref.version] for tenant, ref in published}
        return Shelf(self.shipped, own, await settings_of(conn, {tenant for tenant, _ in names}), self.links)

    async def _ready(self, conn: AsyncConnection, wanted: set[tuple[str, str, int]]) -> dict[tuple[str, str, int], Compiled | None]:
        """Return these versions compiled; concurrent calls may evict from the cache, so what was found is also held here."""
        found = {key: self._kept[key] for key in wanted if key in self._kept}
        if missing := wanted - found.keys():
            for row in await templates.sources(conn, missing):
                ref = TextRef(row.name, row.locale, row.channel, row.version)
                found[row.tenant, row.name, row.version] = _compiled(Source(row.body, row.subject, row.html), ref)
            if len(self._kept) + len(missing) > KEPT_COMPILED:
                self._kept.clear()
            self._kept.update(found)
        return found


async def settings_of(conn: AsyncConnection, tenants: Iterable[str]) -> dict[str, TenantSettings]:
    """Return the tenants' settings; a tenant that has set nothing is absent."""
    return {tenant: _settings(kept.settings) for tenant, kept in (await settings.current(conn, SCHEMA, tenants)).items()}


def _compiled(source: Source, ref: TextRef) -> Compiled | None:
    try:
        return compiled(source, ref)
    except RefusedError as error:
        logs.get("texts").warning("text_refused", template=f"{ref.name}/{ref.version}", reason=error.detail[:200])
        return None


@cache
def _shipped() -> Mapping[Place, Shipped]:
    """Return the shipped texts, read and compiled once per process: they never change."""
    folder = files(__package__) / "templates"
    found = [
        shipped
        for locale in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if locale.is_dir()
        for file in sorted(locale.iterdir(), key=lambda entry: entry.name)
        if file.name.endswith(_SUFFIX)
        for shipped in _read(file.name.removesuffix(_SUFFIX), locale.name, file.read_text(encoding="utf-8"))
    ]
    return MappingProxyType({(one.text.ref.name, one.text.ref.locale, one.text.ref.channel): one for one in found})


def _read(name: str, locale: str, text: str) -> Iterable[Shipped]:
    written = msgspec.convert(written_in(text), WrittenFile)
    for channel in ("sms", "email", "push", "inbox"):
        one: Written = getattr(written, channel)
        source = Source(one.body, one.subject)
        yield Shipped(source, written.purpose, compiled(source, TextRef(name, locale, channel, SHIPPED)))
