"""The policy that rules where none was written: a reminder, three messages that grow firmer, then a person."""

from __future__ import annotations

from datetime import timedelta

from services.scheduler.domain.policy import Policy, Send, Step, Work

MORNING = "10:00-11:30"
_LATE = ("sms", "email", "push")

BUILT_IN = Policy(
    name="built-in",
    version=1,
    steps=(
        Step("due-soon", -3, Send("due_soon", ("push", "inbox"), "reminder"), MORNING),
        Step("gentle", 1, Send("gentle", _LATE), MORNING),
        Step("firm", 3, Send("firm", _LATE), MORNING),
        Step("final", 7, Send("final", _LATE), MORNING),
        Step("review", 14, Work("review", "ladder_ended", within=timedelta(days=2), again_after=timedelta(days=14))),
    ),
    cool_down=timedelta(days=7),
)
STOP_WORK = Work("review", "stop_without_end", within=timedelta(days=2), again_after=timedelta(days=30))
"""A stop that nobody has given an end."""
ENDING_PATIENCE = timedelta(days=30)
"""So long an event may stay away that was to end a hold, until a person looks at it."""
FAILED_WORK = Work("review", "contact_failed", within=timedelta(days=2), again_after=None)
"""A contact for which no channel is left."""
UNKNOWN_WORK = Work("review", "contact_unknown", within=timedelta(days=2), again_after=None)
"""A contact of which nobody has said whether it went out, and which is not said again."""
PROFILE_WORK = Work("review", "no_profile", within=timedelta(days=1), again_after=timedelta(days=7))
"""A borrower of whom no event has told anything, so that nobody can be reached."""
PROFILE_PATIENCE = timedelta(seconds=30)
"""A profile that is on its way beside the loan's events comes within it."""
CORRECTED_WORK = Work("review", "contact_corrected", within=timedelta(days=2), again_after=None)
"""A contact that nothing called for, as is known now: somebody must see whether to say so to the borrower."""
COMPLAINT_WORK = Work("review", "complaint", within=timedelta(days=1), again_after=None)
"""Somebody who was contacted has complained of it."""
REPLY_WORK = Work("review", "reply", within=timedelta(days=1), again_after=None)
"""Somebody has replied who needs a person: for help, or because nobody can be sure that it was no opt-out."""
DOUBT_WORK = Work("review", "in_doubt", within=timedelta(days=1), again_after=None)
"""A case that the rules could not digest."""
HANDED_WORK = Work("agency", "handed_over", within=timedelta(days=5), again_after=timedelta(days=30))
"""A case that somebody else has had for a while: a person sees what became of it, and may take it back."""
HANDED_PATIENCE = timedelta(days=30)
BOOKING_WORK = Work("review", "offer_not_booked", within=timedelta(days=1), again_after=None)
"""An offer that was accepted, and the money is still late after the books had their time."""
APPROVE_OFFER_WORK = Work("review", "approve_offer", within=timedelta(days=1), again_after=None)
"""An offer beyond the limits of the policy."""
EVIDENCE_WORK = Work("review", "evidence", within=timedelta(days=2), again_after=timedelta(days=1))
"""Documents that a step needs; given again when it was completed and they are not there."""
