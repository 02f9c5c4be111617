"""What the notifier is told by whoever starts it."""

from __future__ import annotations

from dataclasses import dataclass, field

from libs.common.page_links import PageLinks
from libs.common.sealing import Ring
from libs.common.settings import Kept, Outlets


@dataclass(frozen=True, slots=True)
class Settings:
    """The keys it unseals and looks up with, and how old a watermark may be."""

    sealing_private: bytes
    digest_key: bytes
    stale_after_s: float = 60.0
    batch: int = 200
    """Deliveries in one claim: no more than the sends that start at once."""
    answer_within_s: float = 30.0
    """How long a provider may take; later its answer is unknown."""
    start_within_s: float = 10.0
    """How long after its claim began a message may start; later it is asked about again: a payment may have come meanwhile."""
    public_url: str | None = None
    """Where this service is reached from outside, for providers to send their receipts to."""
    fakes: bool = False
    """Whether an account may lead to a fake on this machine, over plain HTTP."""
    grace_s: float = 60.0
    """An attempt without a result after so long belongs to a process that is gone."""
    resolve_within_s: float = 86_400.0
    """How long an unknown contact waits for a receipt or a late answer until it is closed as unresolved."""
    outlets: Outlets = field(default_factory=Outlets)
    sealing_older: tuple[bytes, ...] = ()
    """Keys that were sealed for before this one and still open what they sealed."""

    private_hosts: frozenset[str] = frozenset()
    """Hosts that an account may name although they are not public: the operator's own relays and gateways."""
    links: PageLinks | None = None
    """Writes the links to the borrower's page; without it no message has one."""
    kept: Kept = field(default_factory=Kept)

    @property
    def ring(self) -> Ring:
        """Return the keys that open, the newest first."""
        return Ring((self.sealing_private, *self.sealing_older))
