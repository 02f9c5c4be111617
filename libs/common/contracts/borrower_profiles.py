"""Whom the notifier may reach and how: topic `dunning.borrower-profiles`, compacted, from ingest (contract, section 3)."""

from __future__ import annotations

from msgspec import field

from libs.common.contracts.overdue_facts import DebtWatermark
from libs.common.contracts.values import Attributes, Contract, Id, Moment
from libs.common.contracts.wallet_borrowers import ChannelName, ContactRecorded, PurposeName, StopName


class Stamped(Contract, frozen=True, kw_only=True):
    """The publisher's time and event id: of two values of one key, the greater (`time`, `id`) wins."""

    borrower_id: Id
    time: Moment
    id: str


class SealedAddress(Contract, frozen=True, kw_only=True):
    """An address that only the notifier can read."""

    channel: ChannelName
    sealed: str
    lookup: str
    """Keyed hash of the normalised address: one telephone number has the same hash on every channel that reaches it."""
    priority: int = 100
    verified_at: Moment | None = None
    purposes: tuple[PurposeName, ...] | None = None


class BorrowerProfile(Stamped, frozen=True, kw_only=True):
    """The whole profile, of what is newer than the last erasure; personal parts are sealed under the borrower's own key.

    `id` is that of the newest event in it, `#`, and how many were accepted about the borrower: it rises with an older event too.
    """

    key: str
    """The borrower's private key, wrapped for the notifier: destroying it erases the borrower."""
    sealed_name: str | None = None
    locale: str | None = None
    timezone: str | None = None
    jurisdictions: tuple[str, ...] = ()
    addresses: tuple[SealedAddress, ...] = ()
    attributes: Attributes = field(default_factory=dict)


class ConsentState(Stamped, frozen=True, kw_only=True):
    """The current consent for one channel and purpose."""

    channel: ChannelName
    purpose: PurposeName
    granted: bool
    at: Moment


class StatusState(Stamped, frozen=True, kw_only=True):
    """A stop of the borrower in its current state."""

    status_id: Id
    status: StopName
    from_: Moment = field(name="from")
    until: Moment | None = None


class BorrowerErasure(Stamped, frozen=True, kw_only=True):
    """The borrower was erased: forget the key, and what is not newer. A profile of one who came back follows."""


BORROWER_PROFILES: dict[str, type[BorrowerProfile | ConsentState | StatusState | BorrowerErasure | ContactRecorded | DebtWatermark]] = {
    "borrower.profile.v1": BorrowerProfile,
    "borrower.consent.v1": ConsentState,
    "borrower.status.v1": StatusState,
    "borrower.erased.v1": BorrowerErasure,
    "contact.recorded.v1": ContactRecorded,
    "debt.watermark.v1": DebtWatermark,
}
