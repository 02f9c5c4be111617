"""What a person is to do or say, for work that a policy says nothing more of."""

from __future__ import annotations

SCRIPTS = {
    "ladder_ended": "Every message of the policy was sent and money is still owed: decide on a call, an offer or a hold.",
    "stop_without_end": "Contacts rest and nobody has said until when: see whether the reason still stands, then end or date it.",
    "contact_failed": "No message can reach the borrower on any channel: find an address or a number, or decide to write a letter.",
    "contact_unknown": "Nobody has said whether the last message went out: ask the provider before anything is sent again.",
    "no_profile": "No event has told who the borrower is: have the wallet publish the profile, for nobody can be reached without it.",
    "contact_corrected": "A message went out that nothing called for, as is known now: decide whether to say so to the borrower.",
    "complaint": "Read what the borrower complains of, answer it, and complete this task with the outcome; contacts rest until then.",
    "reply": "Read the borrower's reply: answer it, and record an opt-out, a dispute or a hardship where it is one.",
    "in_doubt": "The rules could not digest this case: look at its timeline, resolve what is parked at ingest, then complete this task.",
    "handed_over": "Somebody else has had this case for a while: ask what became of it, and take it back where that is due.",
    "offer_not_booked": "The borrower accepted an offer and the books do not show it: have the loan rescheduled.",
    "approve_offer": "An offer lies beyond the policy's limits: approve or reject it; who made it cannot.",
    "evidence": "A step waits for documents: attach each by its name, place and hash.",
    "dispute": "Check what the borrower disputes line by line against the statement, answer, and complete this task with the outcome.",
    "hardship": "Ask what the borrower can pay and why not more; offer a plan or a hold within the policy's limits.",
    "wrong_number": "The number belongs to somebody else: have the profile corrected, and make no contact by it until then.",
}


def script_of(kind: str, own: str | None) -> str | None:
    """Return what stands in the policy, else what is to be done about work of this kind; None where nobody has said."""
    return own or SCRIPTS.get(kind)
