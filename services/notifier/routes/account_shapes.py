"""Response shapes of providers, routes and personal data, for OpenAPI; fields may be added but never removed."""

from __future__ import annotations

from datetime import datetime

from msgspec import UNSET, Struct, UnsetType, field

from libs.common.describing import Shapes


class BreakerState(Struct):
    """Whether calls are let through, and if not, why."""

    state: str
    since: datetime | None
    until: datetime | None
    calls: int
    faults: int
    opened: int


class RateState(Struct):
    """How many messages a second, and how many permits are promised ahead."""

    per_second: int | None
    permits_in_use: int


class ProviderFault(Struct):
    """A fault: how often a code came in one batch."""

    at: datetime
    fault: str
    code: str
    number: int


class ProviderAccount(Struct, kw_only=True):
    """An account, with the names of its credentials but not their values."""

    name: str
    channels: list[str]
    sandbox: bool
    kind: str
    settings: dict[str, str]
    credentials: list[str]
    base_url: str | None
    at_once: int
    per_second: int | None
    version: int
    paused: bool
    paused_reason: str | None
    paused_by: str | None
    by: str
    at: datetime


class ProviderSet(ProviderAccount, kw_only=True):
    """An account as set, and where its receipts and replies are to be sent: shown only once."""

    receipts_url: str | None
    inbound_url: str | None


class Provider(Struct, kw_only=True):
    """A provider with its health; a built-in one has only its name, channels and whether it is a sandbox."""

    name: str
    channels: list[str]
    sandbox: bool
    kind: str | UnsetType = UNSET
    settings: dict[str, str] | UnsetType = UNSET
    credentials: list[str] | UnsetType = UNSET
    base_url: str | UnsetType | None = UNSET
    at_once: int | UnsetType = UNSET
    per_second: int | UnsetType | None = UNSET
    version: int | UnsetType = UNSET
    paused: bool | UnsetType = UNSET
    paused_reason: str | UnsetType | None = UNSET
    paused_by: str | UnsetType | None = UNSET
    by: str | UnsetType = UNSET
    at: datetime | UnsetType = UNSET
    breaker: BreakerState | UnsetType = UNSET
    rate: RateState | UnsetType = UNSET
    slowed_until: datetime | UnsetType | None = UNSET
    last_faults: list[ProviderFault] | UnsetType = UNSET


class ProviderEvent(Struct):
    """Something that happened to a provider; fields specific to its kind may follow."""

    at: datetime
    kind: str
    by: str


class ProviderRoute(Struct):
    """Messages of a channel to a country go through providers in proportion to their weights."""

    channel: str
    country: str
    provider: str
    weight: int


class Routes(Struct):
    """All routes of a tenant; version 0 means none were ever set."""

    items: list[ProviderRoute]
    next: str | None
    version: int


class BookAddress(Struct):
    """An address; masked without the scope pii:read, null if it cannot be opened."""

    channel: str
    address: str | None
    priority: int | None
    verified_at: datetime | None
    purposes: list[str] | None


class BookEntry(Struct):
    """A borrower's personal data."""

    borrower_id: str
    erased: bool
    masked: bool
    name: str | None
    locale: str | None
    timezone: str | None
    jurisdictions: list[str]
    addresses: list[BookAddress]


class PersonalRead(Struct):
    """Who read personal data, whose, when and why."""

    borrower_id: str | None
    what: str
    by: str
    reason: str | None
    at: datetime


class Recognised(Struct):
    """Whether the digits match the borrower."""

    recognised: bool


class Reply(Struct, kw_only=True):
    """What somebody wrote back; text and sender need the scope pii:read."""

    id: str
    provider: str
    channel: str
    wishes: list[str]
    signed: bool
    at: datetime | None
    received_at: datetime
    shared_by: int
    text: str | None
    from_: str | None = field(name="from")


class Suppression(Struct):
    """An address or a person to whom nothing is sent, and why."""

    id: str
    scope: str
    channel: str | None
    ground: str
    since: datetime
    source: str
    provider: str | None
    task_id: str | None
    lifted_at: datetime | None
    lifted_by: str | None
    lifted_why: str | None


ACCOUNTS: Shapes = {
    "getProviders": list[Provider], "putProvider": ProviderSet, "putProvider:201": ProviderSet, "pauseProvider": ProviderAccount,
    "resumeProvider": ProviderAccount, "getProviderHistory": list[ProviderEvent], "getRoutes": Routes, "putRoutes": Routes,
    "getBorrower": BookEntry, "lookupBorrowers": list[str], "getPiiReads": list[PersonalRead], "recogniseBorrower": Recognised,
    "getBorrowerReplies": list[Reply], "getBorrowerSuppressions": list[Suppression], "deleteBorrowerSuppression": Suppression,
}  # fmt: skip
