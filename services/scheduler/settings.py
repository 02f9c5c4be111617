"""What the scheduler is told by its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Settings:
    """`settle_s`: how long a case rests after its newest change, ten times that at most since the first one.

    `ingest_url`, `notifier_url`: where the others are asked for what the scheduler shows of them; `service_keys`: with which key, by
    tenant, else with the caller's own.
    """

    settle_s: float = 2.0
    ingest_url: str | None = None
    notifier_url: str | None = None
    service_keys: Mapping[str, str] = field(default_factory=dict)
