"""The topics that a deployment needs, from the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from libs.common.contracts.catalogue import CATALOGUE, INTERNAL, dead_letters_of, of_tenant

DEAD_LETTERS_KEPT = timedelta(days=35)
COMPACTED_WITHIN = timedelta(days=1)
"""By then a record replaced by a newer one of its key is gone, so that a service starting without a database reads few old ones."""
DIRTY_RATIO = 0.1
"""The share of replaced records at which a partition is compacted sooner; Kafka's default would be a half."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic to create."""

    name: str
    partitions: int
    retention: timedelta
    """How long a record is kept; on a compacted topic the newest record of a key stays for good, and this is for tombstones."""
    compacted: bool
    others_write: bool = False
    """Its records get the broker's timestamp: by a publisher's own they could be deleted too early or count as known too late."""

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
    """Return every topic, including those of each tenant and those for dead letters."""
    wallets = [topic for topic in CATALOGUE if topic.producer == "wallet"]
    inputs = [(of_tenant(topic, tenant, first=tenants[0]), topic) for topic in wallets for tenant in tenants]
    named = [*inputs, *[(topic.name, topic) for topic in INTERNAL]]
    specs = [TopicSpec(name, partitions, topic.retention, topic.compacted, topic in wallets) for name, topic in named]
    return specs + [TopicSpec(dead_letters_of(name), 1, DEAD_LETTERS_KEPT, compacted=False) for name, _ in named]
