"""What becomes of a step after an outcome (design, section 4)."""

from __future__ import annotations

from services.scheduler.domain.case import PENDING, ContactState

_THEN = {
    "contact.unknown": ContactState.UNKNOWN,
    "contact.expired": ContactState.EXPIRED,
    "contact.deferred": ContactState.DEFERRED,
    "contact.suppressed": ContactState.SUPPRESSED,
}
_OPEN = PENDING | {ContactState.UNKNOWN}


def after(state: ContactState, kind: str) -> ContactState:
    """Return the state of a contact after a later outcome of this kind.

    What was cancelled stays so unless it went out all the same; what went out can only fail as a whole.
    """
    match kind:
        case "contact.sent" | "contact.delivered":
            return ContactState.DONE
        case "contact.failed" if state is not ContactState.CANCELLED:
            return ContactState.FAILED
        case "contact.unknown" | "contact.expired" | "contact.deferred" | "contact.suppressed" if state in _OPEN:
            return _THEN[kind]
        case _:
            return state
