"""The settings of ingest."""

from __future__ import annotations

from dataclasses import dataclass, field

from libs.common.settings import Kept, Outlets


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings that ingest needs."""

    tenants: tuple[str, ...]
    sealing_public: bytes
    digest_key: bytes
    publish_before_answer: bool = False
    """For a single process: what follows from an event is published before the 202 response."""
    outlets: Outlets = field(default_factory=Outlets)
    kept: Kept = field(default_factory=Kept)
