"""The three families of errors: try again, park it, tell the caller."""

from __future__ import annotations

import msgspec

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the decoder raises for bytes that are not JSON, or for JSON nested too deeply."""


class TransientError(Exception):
    """Something outside did not answer; the same call may succeed later."""


class PoisonError(Exception):
    """A record that will never be readable; it is set aside and the rest goes on."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class DomainError(Exception):
    """A mistake of the caller's, as a problem document (RFC 9457) with a stable code."""

    def __init__(self, status: int, code: str, detail: str, *, headers: dict[str, str] | None = None, **extra: object) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers or {}
        self.extra = extra


class PositionMovedError(Exception):
    """Somebody else has moved this partition's position: continue from the database's position."""

    def __init__(self, next_offset: int) -> None:
        super().__init__(f"the position is at {next_offset}")
        self.next_offset = next_offset


class DeadLetterLimitError(Exception):
    """Too many bad records: better to stop than to drain the topic into its dead-letter queue."""
