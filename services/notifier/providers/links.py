"""Providers reached over their own connection instead of HTTP requests: what such a kind consists of."""

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
    """The connection, and the sequence number on it: it has no id of its own, and the same text may come again."""


Heard = Callable[[Sequence[Receipt | Written], bytes], Awaitable[None]]
"""Takes what an account's provider says unasked, with the bytes it came in; when it returns, both are durable."""


class Linked(Provider, Protocol):
    """A provider with connections of its own."""

    async def listen(self) -> None:
        """Connect, if the provider reports unasked what became of messages."""
        ...

    async def retire(self) -> None:
        """Take no new work, and close once pending work has ended."""
        ...

    async def close(self) -> None:
        """Close its connections now."""
        ...


@dataclass(frozen=True, slots=True)
class Terms:
    """The conditions for opening a link."""

    clock: Clock
    at_once: int
    public_only: bool
    hears: Heard


@dataclass(frozen=True, slots=True)
class Link:
    """A kind of provider; its accounts have a `host` in their settings."""

    kind: str
    channels: tuple[str, ...]
    check: Callable[[Account], object]
    """Fails for an account that could not send anything."""
    open: Callable[[Account, Terms], Linked]
    credentials: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    """Which of these must be credentials: settings are shown."""
    listens: bool = False
    receipts: Callable[[Callback, Account, datetime], Sequence[Receipt] | Denied | Fetch] | None = None
    """Reads what is posted about its messages, by whoever hears of them."""
    heard: Mapping[str, object] = field(default_factory=dict)

    def signs(self, account: Account) -> bool:  # noqa: ARG002  # every kind's shape
        """Return whether the receipts of an account are signed: they arrive over our own connection, or carry a mark of ours."""
        return True


def whole(settings: dict[str, str], name: str, default: int, *, least: int, most: int) -> int:
    """Return a setting that is a whole number within bounds."""
    value = int(settings.get(name, default))
    if not least <= value <= most:
        raise ValueError(f"{name} is not within {least} and {most}")
    return value
