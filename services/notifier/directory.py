"""Every tenant's providers: which exist, and the live ones with their connections."""

from __future__ import annotations

import base64
import contextlib
import hmac
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common import logs, sealing
from libs.common.clock import Clock
from libs.common.sealing import Ring, SealError
from services.notifier.domain.receipts import Receipt
from services.notifier.domain.routing import Offer, Routing
from services.notifier.providers.carrier import Carrier, Limits
from services.notifier.providers.http import HttpProvider
from services.notifier.providers.kinds import ADAPTERS, LINKS
from services.notifier.providers.links import LOOPBACK, Heard, Linked, Terms, Written
from services.notifier.providers.port import Provider
from services.notifier.providers.wire import Account, Answer, Callback, HttpCall
from services.notifier.store import accounts
from services.notifier.store.accounts import AccountRow

MOST_KEPT = 100
MARK_BYTES = 16


class _Kept(msgspec.Struct, frozen=True):
    """What is read from a provider's stored request."""

    body: bytes


class Secrets(msgspec.Struct, frozen=True):
    """The sealed part of an account."""

    credentials: dict[str, str]
    url: str
    """The secret part of its receipts URL."""


@dataclass(slots=True)
class Directory:
    """Reads accounts, opens them, and keeps one provider for each until its version changes."""

    engine: AsyncEngine
    clock: Clock
    ring: Ring
    digest_key: bytes
    builtin: Mapping[str, Provider]
    public_url: str | None = None
    """The public URL of this service; without it no provider is asked for receipts."""
    private_hosts: Collection[str] = frozenset()
    """Hosts that may be called even though they are not public."""
    hears: Callable[[str, str], Heard] | None = None
    """Returns the handler for what a tenant's account says over its own connection."""
    _live: dict[tuple[str, str], tuple[int, HttpProvider | Linked]] = field(default_factory=dict)
    _retired: list[HttpProvider | Linked] = field(default_factory=list)
    """Providers of older versions: another pass may still be sending through them."""
    _fetched: dict[str, bytes] = field(default_factory=dict)

    async def routing(self, conn: AsyncConnection) -> Routing:
        """Return who carries what, as of this transaction."""
        offers = tuple(Offer(name, provider.channels, provider.sandbox) for name, provider in self.builtin.items())
        return Routing(offers, await accounts.all_offers(conn), await accounts.all_routes(conn))

    async def provider(self, tenant: str, name: str) -> Provider | None:
        """Return a provider with its connections; None when there is none, or when its secrets cannot be opened."""
        async with self.engine.connect() as conn:
            row = await accounts.find(conn, tenant, name)
        if row is None:
            return self.builtin.get(name)
        live = self._live.get((tenant, name))
        if live is not None and live[0] == row.version:
            return live[1]
        try:
            made = self._made(row)
        except SealError:
            logs.get("directory").error("secrets_unreadable", tenant=tenant, provider=name)
            return None
        self._live[tenant, name] = (row.version, made)
        if live is not None:
            await self._retire(live[1])
        return made

    @property
    def in_use(self) -> bool:
        """Return whether any account has been used since this process started."""
        return bool(self._live)

    def version(self, tenant: str, name: str) -> int | None:
        """Return the version of an account that was opened last; None for a built-in provider."""
        live = self._live.get((tenant, name))
        return live[0] if live is not None else None

    async def linked(self, tenant: str, name: str) -> Linked | None:
        """Return a provider that has a connection of its own; None for any other."""
        found = await self.provider(tenant, name)
        live = self._live.get((tenant, name))
        return None if live is None or live[1] is not found or isinstance(live[1], HttpProvider) else live[1]

    async def _retire(self, provider: HttpProvider | Linked) -> None:
        """Keep an older version's provider until shutdown, or, if it has its own connection, until its pending work is done."""
        self._retired.append(provider)
        if not isinstance(provider, HttpProvider):
            await provider.retire()

    async def fetch(self, url: str) -> bytes | None:
        """Return what a public address serves; certificates are cached, since every callback names one."""
        if url in self._fetched:
            return self._fetched[url]
        carrier = Carrier(Limits(at_once=1), public_only=True)
        answer = await carrier.call(HttpCall(url, {}, b"", "GET"))
        await carrier.close()
        if not isinstance(answer, Answer) or answer.status != 200:
            return None
        if url.endswith(".pem") and len(self._fetched) < MOST_KEPT:
            self._fetched[url] = answer.body
        return answer.body

    async def close(self) -> None:
        """Close all connections."""
        for provider in [*self._retired, *(provider for _, provider in self._live.values())]:
            await provider.close()
        self._retired.clear()
        self._live.clear()

    def seal(self, row: AccountRow, content: Secrets) -> AccountRow:
        """Return an account with its secrets sealed in it."""
        plain = msgspec.json.encode(content)
        return replace(row, sealed=self.ring.keep(plain, _context(row.tenant, row.name)))

    def open(self, row: AccountRow) -> Secrets:
        """Return the secrets of an account."""
        plain = self.ring.unseal(row.sealed, _context(row.tenant, row.name))
        return msgspec.json.decode(plain, type=Secrets)

    def account(self, row: AccountRow) -> Account:
        """Return an account in the form its adapter takes."""
        content = self.open(row)
        key = sealing.digest(self.digest_key, "marks", row.tenant, row.name)
        return Account(row.name, row.kind, content.credentials, row.settings, row.base_url, self.receipts_url(row.name, content.url), key)

    def receipts_url(self, name: str, secret: str) -> str | None:
        """Return the URL that takes an account's receipts."""
        return self._url(name, secret, "receipts")

    def inbound_url(self, name: str, secret: str) -> str | None:
        """Return the URL that takes replies from an account's recipients."""
        return self._url(name, secret, "inbound")

    def unsubscribe_url(self, tenant: str, borrower_id: str, task_id: str) -> str | None:
        """Return the link by which the reader of this mail unsubscribes: it identifies the mail, and proves that we made it."""
        said = msgspec.json.encode((tenant, borrower_id, task_id))
        token = base64.urlsafe_b64encode(self._mark(said) + said).decode().rstrip("=")
        return f"{self.public_url}/v1/unsubscribe/{token}" if self.public_url else None

    def unsubscribing(self, token: str) -> tuple[str, str, str] | None:
        """Return tenant, borrower and task of such a link; None if we did not make it."""
        try:
            raw = base64.b64decode(token.encode() + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (ValueError, UnicodeEncodeError):
            return None
        mark, said = raw[:MARK_BYTES], raw[MARK_BYTES:]
        return msgspec.json.decode(said, type=tuple[str, str, str]) if hmac.compare_digest(mark, self._mark(said)) else None

    def sealed_callback(self, row: AccountRow, callback: Callback) -> bytes:
        """Return a provider's request in stored form: only the notifier can open it."""
        plain = msgspec.json.encode({"url": callback.url, "body": callback.body})
        return self.sealed_words(row.tenant, row.name, plain)

    def sealed_words(self, tenant: str, name: str, plain: bytes) -> bytes:
        """Return what a provider said, in stored form."""
        return self.ring.keep(plain, f"callback/{tenant}/{name}")

    def said(self, tenant: str, name: str, sealed: bytes) -> str | None:
        """Return what a provider said, as stored but without the URL it called, which holds a secret; None if it cannot be opened."""
        try:
            plain = self.ring.unseal(sealed, f"callback/{tenant}/{name}")
        except SealError:
            return None
        with contextlib.suppress(msgspec.MsgspecError):  # an answer to our own question is stored as it was read
            plain = msgspec.json.decode(plain, type=_Kept).body
        return plain.decode(errors="replace")

    def secret_hash(self, secret: str) -> bytes:
        """Return the hash by which a URL's secret is found."""
        return sealing.digest(self.digest_key, "provider", secret)

    def _mark(self, said: bytes) -> bytes:
        return sealing.digest(self.digest_key, "unsubscribe", said.decode("latin-1"))[:MARK_BYTES]

    def _url(self, name: str, secret: str, end: str) -> str | None:
        return f"{self.public_url}/v1/providers/{name}/{secret}/{end}" if self.public_url else None

    def _made(self, row: AccountRow) -> HttpProvider | Linked:
        """Build a provider; a custom address must be public unless it is on this machine or one of the operator's own hosts."""
        if row.kind in LINKS:
            hears = self.hears(row.tenant, row.name) if self.hears else _deaf
            public_only = row.settings.get("host") not in {*LOOPBACK, *self.private_hosts}
            return LINKS[row.kind].open(self.account(row), Terms(self.clock, row.at_once, public_only, hears))
        adapter = ADAPTERS[row.kind]
        chosen = row.base_url is not None and urlsplit(row.base_url).hostname not in {*LOOPBACK, *self.private_hosts}
        carrier = Carrier(Limits(at_once=row.at_once), public_only=adapter.public_only or chosen, http2=adapter.http2)
        return HttpProvider(self.account(row), adapter, carrier, self.clock)


async def _deaf(_: Sequence[Receipt | Written], __: bytes) -> None:
    raise LookupError("nothing handles what providers say")


def new_secret() -> str:
    """Return a new secret for a URL."""
    return secrets.token_urlsafe(24)


def is_loopback(url: str) -> bool:
    """Return whether a URL points to this machine."""
    return urlsplit(url).hostname in LOOPBACK


def _context(tenant: str, name: str) -> str:
    return f"provider/{tenant}/{name}"
