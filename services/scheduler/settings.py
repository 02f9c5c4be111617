"""What the scheduler is told by its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from libs.common.page_links import Verifier
from libs.common.settings import Kept, Outlets


@dataclass(frozen=True, slots=True)
class Settings:
    """`settle_s`: how long a case rests after its newest change, ten times that at most since the first one.

    `tenants`: the first one's topics have the plain names. `ingest_url`, `notifier_url`: where the others are asked for what the scheduler
    shows of them; `service_keys`: with which key, by tenant, else with the caller's own. `simulation_processes` play
    simulations beside the service; with `approval_needs_simulation` no policy is approved without one.
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
    """Where borrowers reach the scheduler, for the links that are made; else where the caller does."""
    links: Verifier = field(default_factory=Verifier)
    """Reads the links that the notifier writes into messages."""
    kept: Kept = field(default_factory=Kept)
