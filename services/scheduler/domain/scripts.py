"""What a person should do or say, for work to which the policy adds nothing."""

from __future__ import annotations

SCRIPTS = {
    "ladder_ended": "Every message of the policy was sent and money is still owed: decide on a call, an offer or a hold.",
    "stop_without_end": "Contacts are paused with no end date: see whether the reason still holds, then end the hold or set its end.",
    "contact_failed": "No message can reach the borrower on any channel: find an address or a number, or decide to write a letter.",
    "contact_unknown": "It is not known whether the last message went out: ask the provider before anything is sent again.",
    "no_profile": "No event has told who the borrower is: have the wallet publish the profile; nobody can be reached without it.",
    "contact_corrected": "A message went out that is now known to have been groundless: decide whether to tell the borrower.",
    "complaint": "Read the complaint, answer it, and complete this task with the outcome; contacts pause until then.",
    "reply": "Read the borrower's reply: answer it, and record an opt-out, a dispute or hardship if it is one.",
    "in_doubt": "The rules failed on this case: look at its timeline, resolve what is parked at ingest, then complete this task.",
    "handed_over": "This case was handed over some time ago: ask what became of it, and take it back if appropriate.",
    "offer_not_booked": "The borrower accepted an offer and the books do not show it: have the loan rescheduled.",
    "approve_offer": "An offer is beyond the policy's limits: approve or reject it; whoever made it cannot.",
    "evidence": "A step waits for documents: attach each by its name, place and hash.",
    "dispute": "Check what the borrower disputes line by line against the statement, answer, and complete this task with the outcome.",
    "hardship": "Ask what the borrower can pay and why not more; offer a plan or a hold within the policy's limits.",
    "wrong_number": "The number belongs to somebody else: have the profile corrected, and do not use the number until then.",
}


def script_of(kind: str, own: str | None) -> str | None:
    """Return the policy's script, else the default for this kind of work; None if there is none."""
    return own or SCRIPTS.get(kind)
