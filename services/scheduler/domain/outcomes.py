"""What becomes of a step after an outcome (design, section 4)."""

from __future__ import annotations

from collections.abc import Mapping

from services.scheduler.domain.builtin import COMPLAINT_WORK, REPLY_WORK
from services.scheduler.domain.case import PENDING, ContactState
from services.scheduler.domain.policy import Work

_THEN = {
    "contact.unknown": ContactState.UNKNOWN,
    "contact.expired": ContactState.EXPIRED,
    "contact.deferred": ContactState.DEFERRED,
    "contact.suppressed": ContactState.SUPPRESSED,
}
_TAKEN_BACK = frozenset({"contact.unknown", "contact.expired", "contact.suppressed"})
"""Outcomes that settle a cancelled contact: it may have gone out before, or surely did not."""

REPLIES = frozenset({"contact.replied", "contact.opted_out", "contact.complained"})
"""Replies to a contact: they say nothing about how far the contact got."""
_FOR_A_PERSON: Mapping[tuple[str, str | None], Work] = {
    ("contact.replied", "unclear"): REPLY_WORK,
    ("contact.replied", "help"): REPLY_WORK,
    ("contact.suppressed", "complaint"): COMPLAINT_WORK,
    ("contact.suppressed", "in_doubt"): REPLY_WORK,
}
_OPEN = PENDING | {ContactState.CANCELLED, ContactState.UNKNOWN}


def work_after(kind: str, reason: str | None) -> Work | None:
    """Return the work an outcome gives a person by itself."""
    return _FOR_A_PERSON.get((kind, reason))


def after(state: ContactState, kind: str, *, final: bool = False) -> ContactState:
    """Return the state of a contact after a later outcome of this kind.

    A cancelled contact stays in flight until an outcome says what became of it. One that went out, or may have, can only fail as a whole:
    nothing turns it into one that did not go out. `final` means that nobody will be asked about an unknown one any more.
    """
    match kind:
        case "contact.unknown" if final and state in _OPEN:
            return ContactState.UNRESOLVED
        case "contact.sent" | "contact.delivered":
            return ContactState.DONE
        case "contact.failed":
            return ContactState.FAILED
        case _ if kind in _THEN and (state in PENDING or (state is ContactState.CANCELLED and kind in _TAKEN_BACK)):
            return _THEN[kind]
        case _:
            return state
