"""The provider that reaches nobody: it keeps what it was given, each call separately, so that a message sent twice shows up twice.

An address may ask for a result: `refuse`, `unknown`, `notsent`, or `noreceipt`, which is accepted but never gets a receipt (before an `@`,
or the whole address).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from libs.common import ids
from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.results import Accepted, NotSent, Refused, Result, Unknown

RECEIPTS = frozenset({"sms", "email"})
"""Channels on which it reports at once that the message has arrived."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A message as kept by the sandbox, with an id of its own."""

    id: str
    message: OutgoingMessage


@dataclass(frozen=True, slots=True)
class SandboxProvider:
    """Keeps messages through `keep`, a batch at a time."""

    keep: Callable[[Sequence[Kept]], Awaitable[None]]
    name: str = "sandbox"
    channels: tuple[str, ...] = ("sms", "email", "push", "inbox")
    sandbox: bool = True

    async def deliver(self, batch: Sequence[OutgoingMessage]) -> list[Result]:
        """Keep the messages that go out, and answer each as its address asks."""
        answers = [_answer(message) for message in batch]
        gone = [Kept(ref, message) for message, (ref, result) in zip(batch, answers, strict=True) if isinstance(result, Accepted | Unknown)]
        if gone:
            await self.keep(gone)
        return [result for _, result in answers]


def _answer(message: OutgoingMessage) -> tuple[str, Result]:
    ref = ids.fresh()
    match message.to.partition("@")[0].partition("+")[0]:
        case "refuse":
            return ref, Refused("sandbox_refused", "recipient")
        case "unknown":
            return ref, Unknown("sandbox_cut")
        case "notsent":
            return ref, NotSent("sandbox_unreachable")
        case "noreceipt":
            return ref, Accepted(ref)
        case _:
            return ref, Accepted(ref, "delivered" if message.channel in RECEIPTS else None)
