"""The policy used where none is assigned: a reminder, three increasingly firm messages, then a person."""

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
"""A stop without an end date."""
ENDING_PATIENCE = timedelta(days=30)
"""How long to wait for the event that should end a hold before a person looks at it."""
FAILED_WORK = Work("review", "contact_failed", within=timedelta(days=2), again_after=None)
"""A contact with no channel left."""
UNKNOWN_WORK = Work("review", "contact_unknown", within=timedelta(days=2), again_after=None)
"""A contact whose sending nobody has confirmed or denied, and which is not repeated."""
PROFILE_WORK = Work("review", "no_profile", within=timedelta(days=1), again_after=timedelta(days=7))
"""A borrower without a profile, who therefore cannot be reached."""
PROFILE_PATIENCE = timedelta(seconds=30)
"""How long to allow for a profile that arrives together with the loan's events."""
CORRECTED_WORK = Work("review", "contact_corrected", within=timedelta(days=2), again_after=None)
"""A contact now known to have been groundless: somebody must decide whether to tell the borrower."""
COMPLAINT_WORK = Work("review", "complaint", within=timedelta(days=1), again_after=None)
"""Somebody complained about a contact."""
REPLY_WORK = Work("review", "reply", within=timedelta(days=1), again_after=None)
"""A reply that needs a person: it asks for help, or may be an opt-out."""
DOUBT_WORK = Work("review", "in_doubt", within=timedelta(days=1), again_after=None)
"""A case the rules failed on."""
HANDED_WORK = Work("agency", "handed_over", within=timedelta(days=5), again_after=timedelta(days=30))
"""A case handed over some time ago: a person finds out what became of it, and may take it back."""
HANDED_PATIENCE = timedelta(days=30)
BOOKING_WORK = Work("review", "offer_not_booked", within=timedelta(days=1), again_after=None)
"""An accepted offer whose money is still overdue after the time allowed for booking it."""
APPROVE_OFFER_WORK = Work("review", "approve_offer", within=timedelta(days=1), again_after=None)
"""An offer beyond the policy's limits."""
EVIDENCE_WORK = Work("review", "evidence", within=timedelta(days=2), again_after=timedelta(days=1))
"""Documents a step needs; given again if it is completed while they are still missing."""
