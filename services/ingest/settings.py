"""The settings of ingest."""

from __future__ import annotations

from dataclasses import dataclass, field

from libs.common.settings import Kept, Outlets


@dataclass(frozen=True, slots=True)
class Settings:
    """What ingest must be told; frozen."""

    tenants: tuple[str, ...]
    sealing_public: bytes
    digest_key: bytes
    publish_before_answer: bool = False
    """One process: what follows from an event is published before its 202."""
    outlets: Outlets = field(default_factory=Outlets)
    kept: Kept = field(default_factory=Kept)
