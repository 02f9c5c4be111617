"""The topics that a deployment needs, out of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from libs.common.contracts.catalogue import CATALOGUE, INTERNAL, dead_letters_of, of_tenant

DEAD_LETTERS_KEPT = timedelta(days=35)
COMPACTED_WITHIN = timedelta(days=1)
"""What a newer record of its key has replaced is gone by then: whoever starts without a database reads little that is old."""
DIRTY_RATIO = 0.1
"""The share of replaced records at which a partition is compacted before that; Kafka's own would let half of it be such."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic to be made."""

    name: str
    partitions: int
    retention: timedelta
    """How long a record is kept; on a compacted topic the newest of a key stands for good, and this is for what closes a key."""
    compacted: bool
    others_write: bool = False
    """Its records get the broker's moment: by a publisher's own they would be deleted too early, or have been known too late."""

    @property
    def settings(self) -> Mapping[str, str]:
        """Return the topic's settings as Kafka names them."""
        kept = _ms(self.retention)
        if not self.compacted:
            stamped = {"message.timestamp.type": "LogAppendTime"} if self.others_write else {}
            return {"cleanup.policy": "delete", "retention.ms": kept, **stamped}
        return {
            "cleanup.policy": "compact", "delete.retention.ms": kept, "max.compaction.lag.ms": _ms(COMPACTED_WITHIN),
            "min.cleanable.dirty.ratio": str(DIRTY_RATIO),
        }  # fmt: skip


def _ms(duration: timedelta) -> str:
    return str(duration // timedelta(milliseconds=1))


def needed(tenants: Sequence[str], partitions: int) -> list[TopicSpec]:
    """Return every topic, those of each tenant and those for dead letters included."""
    wallets = [topic for topic in CATALOGUE if topic.producer == "wallet"]
    inputs = [(of_tenant(topic, tenant, first=tenants[0]), topic) for topic in wallets for tenant in tenants]
    named = [*inputs, *[(topic.name, topic) for topic in INTERNAL]]
    specs = [TopicSpec(name, partitions, topic.retention, topic.compacted, topic in wallets) for name, topic in named]
    return specs + [TopicSpec(dead_letters_of(name), 1, DEAD_LETTERS_KEPT, compacted=False) for name, _ in named]
