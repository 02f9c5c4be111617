"""What a transaction writes besides its case rows: steps, tasks, timeline entries, messages."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from libs.common.bus.ports import Message
from services.scheduler.domain.case import Case
from services.scheduler.store import dealings, holds, promises, story, trials
from services.scheduler.store.errands import WithdrawnRow

_encode = msgspec.json.Encoder(order="deterministic").encode


class Outgoing(msgspec.Struct):
    """What is written besides the case rows."""

    entries: list[story.Entry] = msgspec.field(default_factory=list)
    messages: list[Message] = msgspec.field(default_factory=list)
    steps: list[story.StepRow] = msgspec.field(default_factory=list)
    changed: list[story.StepChange] = msgspec.field(default_factory=list)
    errands: list[story.ErrandRow] = msgspec.field(default_factory=list)
    withdrawn: list[WithdrawnRow] = msgspec.field(default_factory=list)
    ended: list[holds.EndedRow] = msgspec.field(default_factory=list)
    judged: list[promises.JudgedRow] = msgspec.field(default_factory=list)
    offers: list[dealings.OfferRow] = msgspec.field(default_factory=list)
    trials: list[trials.TrialRow] = msgspec.field(default_factory=list)

    def add(self, other: Outgoing) -> None:
        """Add what another case produced."""
        self.entries += other.entries
        self.messages += other.messages
        self.steps += other.steps
        self.changed += other.changed
        self.errands += other.errands
        self.withdrawn += other.withdrawn
        self.ended += other.ended
        self.judged += other.judged
        self.offers += other.offers
        self.trials += other.trials


def entry(case: Case, at: datetime, kind: str, /, *, reason: str | None = None, **detail: Any) -> story.Entry:
    """Return an entry for a case's timeline."""
    return story.Entry(case.tenant, case.borrower_id, case.case_id, at, kind, reason, _encode(detail))
