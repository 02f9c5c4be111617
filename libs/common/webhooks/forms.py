"""A webhook as a tenant defines it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from libs.common.contracts.values import Contract, Id
from libs.common.errors import DomainError
from libs.common.webhooks.signing import KEY_BYTES, SecretError, key_of

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
MOST = 20
"""Webhooks of one tenant in one service."""
_Name = Annotated[str, Meta(min_length=1, max_length=100)]


class Webhook(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A URL that is called with the messages of some topics; its secret is accepted but never shown."""

    id: Id
    url: Annotated[str, Meta(min_length=1, max_length=2000)]
    topics: Annotated[tuple[_Name, ...], Meta(min_length=1, max_length=5)]
    types: Annotated[tuple[_Name, ...], Meta(max_length=50)] | None = None
    """Only these types of events; None means all."""
    secret: Annotated[str, Meta(max_length=200)] | None = None
    active: bool = True
    batch: Annotated[int, Meta(ge=1, le=100)] = 1
    """The most events in a call; from 2 on, every call carries a list."""

    def __post_init__(self) -> None:
        if self.secret is not None and not _is_secret(self.secret):
            raise ValueError(f"a secret is {KEY_BYTES.start} to {KEY_BYTES.stop - 1} bytes in base64, with or without the prefix whsec_")


Webhooks = Annotated[tuple[Webhook, ...], Meta(max_length=MOST)]


def without_secrets(webhooks: Sequence[Webhook]) -> tuple[Webhook, ...]:
    """Return webhooks as they are stored and shown."""
    return tuple(msgspec.structs.replace(webhook, secret=None) for webhook in webhooks)


def checked(webhooks: Sequence[Webhook], topics: frozenset[str], *, local: bool) -> None:
    """Refuse webhooks that could not be called."""
    if len({webhook.id for webhook in webhooks}) < len(webhooks):
        raise DomainError(422, "invalid_settings", "webhooks: an id is used twice")
    for at, webhook in enumerate(webhooks):
        if unknown := sorted(set(webhook.topics) - topics):
            raise DomainError(422, "invalid_settings", f"$.webhooks[{at}].topics: this service does not write {', '.join(unknown)}")
        if not _is_callable(webhook.url, local=local):
            raise DomainError(422, "invalid_settings", f"$.webhooks[{at}].url: it must have https and a host, and no user or fragment")


def is_local(url: str) -> bool:
    """Return whether a URL is on this machine, over plain HTTP."""
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname in LOOPBACK


def _is_callable(url: str, *, local: bool) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    plain = parts.scheme == "https" or (local and is_local(url))
    return plain and bool(parts.hostname) and "@" not in parts.netloc and not parts.fragment and url.isascii() and " " not in url


def _is_secret(secret: str) -> bool:
    try:
        return len(key_of(secret)) in KEY_BYTES
    except SecretError:
        return False
