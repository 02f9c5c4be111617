"""The scheduler's settings from its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from libs.common.page_links import Verifier
from libs.common.settings import Kept, Outlets


@dataclass(frozen=True, slots=True)
class Settings:
    """`settle_s`: how long a case settles after its newest change, and at most ten times that after the first.

    `tenants`: the first one's topics are unprefixed. `ingest_url`, `notifier_url`: where to ask for what the scheduler shows of them;
    `service_keys`: the keys for that by tenant, else the caller's own is used. `simulation_processes` run simulations outside the
    service; with `approval_needs_simulation` no policy is approved without one.
    """

    settle_s: float = 2.0
    outlets: Outlets = field(default_factory=Outlets)
    tenants: tuple[str, ...] = ("default",)
    ingest_url: str | None = None
    notifier_url: str | None = None
    service_keys: Mapping[str, str] = field(default_factory=dict)
    simulation_processes: int = 2
    approval_needs_simulation: bool = False
    page_url: str | None = None
    """Where borrowers reach the scheduler, used in the links it makes; default: where the caller reaches it."""
    links: Verifier = field(default_factory=Verifier)
    """Reads the links the notifier writes into messages."""
    kept: Kept = field(default_factory=Kept)
