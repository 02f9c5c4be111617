"""What a push tells the app beside its text."""

from __future__ import annotations

from services.notifier.domain.message import OutgoingMessage

OURS = "dunwell_message"
LINK = "dunwell_link"


def named(message: OutgoingMessage) -> dict[str, str]:
    """Return which message it is, and the borrower's page, which the app opens when it is tapped."""
    return {OURS: message.id} | ({LINK: message.link} if message.link else {})
