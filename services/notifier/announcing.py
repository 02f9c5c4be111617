"""Outcomes as messages: one numbered message for every step in the life of a delivery."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from libs.common import ids
from libs.common.bus.ports import Message
from libs.common.cloudevents import Envelope, Writer
from libs.common.contracts.catalogue import OUTCOMES
from libs.common.contracts.contact_outcomes import ContactOutcome
from services.notifier.domain.delivery import Change, Outcome

SOURCE = "dunwell/notifier"


@dataclass(frozen=True, slots=True)
class Announcer:
    """Writes outcomes to the borrowers' partitions."""

    writer: Writer

    def messages(self, changes: Iterable[Change], *, now: datetime) -> list[Message]:
        """Return the messages for these changes, in order."""
        return [self._message(change, outcome, now) for change in changes for outcome in change.outcomes]

    def _message(self, change: Change, outcome: Outcome, now: datetime) -> Message:
        delivery, request = change.delivery, change.delivery.request
        data = ContactOutcome(
            task_id=delivery.task_id,
            borrower_id=delivery.borrower_id,
            case_id=request.case_id,
            step=request.step,
            at=now,
            sequence=outcome.sequence,
            channel=outcome.channel,  # type: ignore[arg-type]  # the channels of a request are channel names
            provider=outcome.provider,
            reason=outcome.reason,
            until=outcome.until,
            rules=outcome.rules,
            loans=outcome.loans,
            final=outcome.final,
        )
        envelope = Envelope(
            type=f"contact.{outcome.kind}.v1",
            id=ids.derived("o", delivery.tenant, delivery.task_id, outcome.sequence),
            source=SOURCE,
            time=now,
            tenant=delivery.tenant,
            subject=delivery.borrower_id,
        )
        return self.writer.message(
            OUTCOMES, envelope, data, key=f"{delivery.tenant}/{delivery.borrower_id}", borrower_id=delivery.borrower_id
        )  # fmt: skip
