"""The topics that a deployment needs, out of the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from libs.common.contracts.catalogue import CATALOGUE, INTERNAL, dead_letters_of, of_tenant

DEAD_LETTERS_KEPT = timedelta(days=35)


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic to be made."""

    name: str
    partitions: int
    retention: timedelta
    compacted: bool


def needed(tenants: Sequence[str], partitions: int) -> list[TopicSpec]:
    """Return every topic, those of each tenant and those for dead letters included."""
    wallets = [topic for topic in CATALOGUE if topic.producer == "wallet"]
    inputs = [(of_tenant(topic, tenant, first=tenants[0]), topic) for topic in wallets for tenant in tenants]
    named = [*inputs, *[(topic.name, topic) for topic in INTERNAL]]
    specs = [TopicSpec(name, partitions, topic.retention, topic.compacted) for name, topic in named]
    return specs + [TopicSpec(dead_letters_of(name), 1, DEAD_LETTERS_KEPT, compacted=False) for name, _ in named]
