"""What becomes of a step after an outcome (design, section 4)."""

from __future__ import annotations

from services.scheduler.domain.case import PENDING, ContactState

_ENDED = {
    "contact.failed": ContactState.FAILED,
    "contact.unknown": ContactState.UNKNOWN,
    "contact.expired": ContactState.EXPIRED,
    "contact.deferred": ContactState.DEFERRED,
}
_OPEN = PENDING | {ContactState.UNKNOWN}


def after(state: ContactState, kind: str, channel: str | None) -> ContactState:
    """Return the state of a contact after a later outcome of this kind; one without a channel is about all of them.

    What was cancelled stays so unless it went out all the same; what went out can only fail as a whole.
    """
    match kind:
        case "contact.sent" | "contact.delivered":
            return ContactState.DONE
        case "contact.failed" if state is not ContactState.CANCELLED:
            return ContactState.FAILED
        case "contact.unknown" | "contact.expired" | "contact.deferred" if state in _OPEN:
            return _ENDED[kind]
        case "contact.suppressed" if state in _OPEN and channel is None:
            return ContactState.SUPPRESSED
        case _:
            return state
