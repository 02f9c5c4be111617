"""The notifier's settings, given by whoever starts it."""

from __future__ import annotations

from dataclasses import dataclass, field

from libs.common.page_links import PageLinks
from libs.common.sealing import Ring
from libs.common.settings import Kept, Outlets


@dataclass(frozen=True, slots=True)
class Settings:
    """Keys for unsealing and for lookups, limits, and where this service is reached."""

    sealing_private: bytes
    digest_key: bytes
    stale_after_s: float = 60.0
    batch: int = 200
    """Deliveries per claim: no more than may start sending at once."""
    answer_within_s: float = 30.0
    """How long a provider may take; after that its answer is unknown."""
    start_within_s: float = 10.0
    """How long after its claim began a message may start; later it is decided again, as a payment may have come meanwhile."""
    public_url: str | None = None
    """The public URL of this service, to which providers send their receipts."""
    fakes: bool = False
    """Whether an account may point to a fake on this machine, over plain HTTP."""
    grace_s: float = 60.0
    """An attempt that has had no result for this long belongs to a process that is gone."""
    resolve_within_s: float = 86_400.0
    """How long an unknown contact waits for a receipt or a late answer before it is closed as unresolved."""
    outlets: Outlets = field(default_factory=Outlets)
    sealing_older: tuple[bytes, ...] = ()
    """Earlier keys, which still open what was sealed for them."""

    private_hosts: frozenset[str] = frozenset()
    """Non-public hosts that an account may name: the operator's own relays and gateways."""
    links: PageLinks | None = None
    """Makes the links to the borrower's page; without it no message has one."""
    kept: Kept = field(default_factory=Kept)

    @property
    def ring(self) -> Ring:
        """Return the keys that open, newest first."""
        return Ring((self.sealing_private, *self.sealing_older))
