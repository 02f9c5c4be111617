"""Providers that are reached over a connection of their own and not by HTTP requests: what such a kind is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from libs.common.clock import Clock
from services.notifier.domain.receipts import Receipt
from services.notifier.providers.port import Provider
from services.notifier.providers.wire import Account, Callback, Denied, Fetch

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class Written:
    """What a person has written to one of our numbers."""

    address: str
    to: str
    said: str
    under: str = ""
    """The connection, and the number on it, that it came under: it has no id, and the same word may come again."""


Heard = Callable[[Sequence[Receipt | Written], bytes], Awaitable[None]]
"""Takes what an account's provider says by itself, and the bytes it said it with: once it returns, both are kept for good."""


class Linked(Provider, Protocol):
    """A provider with connections."""

    async def listen(self) -> None:
        """Be connected, where the provider says by itself what became of messages."""
        ...

    async def retire(self) -> None:
        """Take nothing new, and close when what is under way has ended."""
        ...

    async def close(self) -> None:
        """Close its connections now."""
        ...


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a link is opened."""

    clock: Clock
    at_once: int
    public_only: bool
    hears: Heard


@dataclass(frozen=True, slots=True)
class Link:
    """One kind of provider; its accounts have a `host` among their settings."""

    kind: str
    channels: tuple[str, ...]
    check: Callable[[Account], object]
    """Fails where nothing could be sent with an account."""
    open: Callable[[Account, Terms], Linked]
    credentials: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    """What of these must be a credential: settings are shown."""
    listens: bool = False
    receipts: Callable[[Callback, Account, datetime], Sequence[Receipt] | Denied | Fetch] | None = None
    """What is posted about its messages, by whoever hears of them."""
    heard: Mapping[str, object] = field(default_factory=dict)

    def signs(self, account: Account) -> bool:  # noqa: ARG002  # every kind's shape
        """Return whether the receipts of an account are signed: they come by a connection of ours, or with a mark of ours."""
        return True


def whole(settings: dict[str, str], name: str, default: int, *, least: int, most: int) -> int:
    """Return a setting that is a whole number within bounds."""
    value = int(settings.get(name, default))
    if not least <= value <= most:
        raise ValueError(f"{name} is not within {least} and {most}")
    return value
