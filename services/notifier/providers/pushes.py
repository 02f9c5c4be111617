"""What a push tells the app besides its text."""

from __future__ import annotations

from services.notifier.domain.message import OutgoingMessage

OURS = "dunwell_message"
LINK = "dunwell_link"


def named(message: OutgoingMessage) -> dict[str, str]:
    """Return the message's id, and the borrower's page, which the app opens on a tap."""
    return {OURS: message.id} | ({LINK: message.link} if message.link else {})
