"""Events about borrowers, and the heartbeat of a feed: topic `wallet.borrower-events` (contract, section 2)."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from libs.common.contracts.values import (
    WITHOUT_NUL,
    Attributes,
    Contract,
    Id,
    Moment,
    Text,
    in_utc,
    known_zone,
    moments_on_calendar,
    not_deep,
)

ChannelName = Literal[
    "sms", "email", "push", "inbox", "call", "ai_voice", "voicemail", "letter", "visit", "chat", "private_message"
]  # fmt: skip
PurposeName = Literal["reminder", "dunning", "notice", "consent_request", "answer", "confirmation", "survey"]
StopName = Literal[
    "deceased", "insolvent", "represented", "hardship", "vulnerable", "moratorium", "cease", "fraud_victim", "bereavement",
    "time_barred", "opt_out", "objection", "dispute", "complaint", "promise", "in_doubt", "manual",
]  # fmt: skip


class Address(Contract, frozen=True, kw_only=True):
    """Where a borrower can be reached; sealed as soon as it arrives."""

    channel: ChannelName
    address: Annotated[str, Meta(min_length=1, max_length=4096)]
    priority: Annotated[int, Meta(ge=0, le=1000)] = 100
    verified_at: Moment | None = None
    purposes: tuple[PurposeName, ...] | None = None

    def __post_init__(self) -> None:
        in_utc(self, "verified_at")
        moments_on_calendar(self.verified_at)


class BorrowerUpdated(Contract, frozen=True, kw_only=True):
    """Who the borrower is and how to reach them; absent parts are left unchanged."""

    borrower_id: Id
    name: Annotated[str, Meta(max_length=512)] | None = None
    locale: Annotated[str, Meta(max_length=35, pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$(?!\n)")] | None = None
    timezone: str | None = None
    jurisdictions: Annotated[tuple[Id, ...], Meta(max_length=16)] | None = None
    addresses: Annotated[tuple[Address, ...], Meta(max_length=64)] | None = None
    attributes: Attributes | None = None

    def __post_init__(self) -> None:
        known_zone(self.timezone)
        not_deep(self.attributes)


class BorrowerConsent(Contract, frozen=True, kw_only=True):
    """A consent given or withdrawn for a channel and a purpose."""

    borrower_id: Id
    channel: ChannelName
    purpose: PurposeName
    granted: bool
    at: Moment
    evidence: Text | None = None

    def __post_init__(self) -> None:
        in_utc(self, "at")
        moments_on_calendar(self.at)


class BorrowerStatus(Contract, frozen=True, kw_only=True):
    """A stop from the closed list; the same `status_id` with a later `time` replaces it."""

    borrower_id: Id
    status_id: Id
    status: StopName
    from_: Moment = field(name="from")
    until: Moment | None = None
    evidence: Text | None = None

    def __post_init__(self) -> None:
        in_utc(self, "from_", "until")
        moments_on_calendar(self.from_, self.until)


class BorrowerErased(Contract, frozen=True, kw_only=True):
    """The borrower's key is destroyed; nobody can read what was sealed under it."""

    borrower_id: Id


class ContactRecorded(Contract, frozen=True, kw_only=True):
    """A contact made elsewhere; it counts towards caps."""

    contact_id: Id
    borrower_id: Id
    channel: ChannelName
    at: Moment
    by: Annotated[str, Meta(max_length=128, pattern=WITHOUT_NUL)]
    loan_id: Id | None = None
    result: Annotated[str, Meta(max_length=64, pattern=WITHOUT_NUL)] | None = None

    def __post_init__(self) -> None:
        in_utc(self, "at")
        moments_on_calendar(self.at)


class FeedHeartbeat(Contract, frozen=True, kw_only=True):
    """This source is alive and will send the next heartbeat within `every_s` seconds."""

    every_s: Annotated[int, Meta(ge=1, le=86_400)]


BorrowerEventData = BorrowerUpdated | BorrowerConsent | BorrowerStatus | BorrowerErased | ContactRecorded | FeedHeartbeat

BORROWER_EVENTS: dict[str, type[BorrowerEventData]] = {
    "wallet.borrower.updated.v1": BorrowerUpdated,
    "wallet.borrower.consent.v1": BorrowerConsent,
    "wallet.borrower.status.v1": BorrowerStatus,
    "wallet.borrower.erased.v1": BorrowerErased,
    "wallet.contact.recorded.v1": ContactRecorded,
    "wallet.feed.heartbeat.v1": FeedHeartbeat,
}
