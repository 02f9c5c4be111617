"""A chain of changes: each link is the hash of the previous one and of the change, so that none can be altered or left out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

BEGINNING = b"\0" * 32


@dataclass(frozen=True, slots=True)
class Link:
    """A change: who did what to which version; `detail` is JSON."""

    tenant: str
    chain: str
    seq: int
    at: datetime
    by: str
    action: str
    version: int | None
    detail: bytes
    previous: bytes
    hash: bytes = b""

    def hashed(self) -> bytes:
        """Return the hash this link must have."""
        content: dict[str, Any] = {
            "tenant": self.tenant, "chain": self.chain, "seq": self.seq, "at": self.at.astimezone(UTC).isoformat(timespec="microseconds"),
            "by": self.by, "action": self.action, "version": self.version, "detail": json.loads(self.detail),
        }  # fmt: skip
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(self.previous + canonical.encode()).digest()


def broken_at(links: Iterable[Link], *, last: tuple[int, bytes]) -> int | None:
    """Return the number of the first link that was altered; None for an intact chain that ends in `last`."""
    seq, before = 0, BEGINNING
    for link in links:
        seq += 1
        if link.seq != seq or link.previous != before or link.hash != link.hashed():
            return seq
        before = link.hash
    return None if (seq, before) == last else seq + 1
