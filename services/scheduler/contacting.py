"""Contacts made by people: reported to the notifier, whose caps count them, and followed up according to their result."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime, timedelta

from libs.common.contracts.wallet_borrowers import ContactRecorded
from libs.common.errors import DomainError
from libs.common.value import replace
from services.scheduler.casework import Work
from services.scheduler.domain.matters import RESULTS, NonpaymentReason, ResultCode
from services.scheduler.holding import HoldWanted, default_contacts, set_hold
from services.scheduler.objecting import MatterWanted, open_matter
from services.scheduler.promising import PromiseWanted, make
from services.scheduler.store import matters
from services.scheduler.store.matters import ContactRow

LATEST = timedelta(minutes=5)
"""How far other systems' clocks may be ahead of ours."""


@dataclass(frozen=True, slots=True)
class ContactMade:
    """A contact and its result; `promise` if one was made, `reason` if the borrower said why nothing was paid."""

    channel: str | None
    at: datetime | None
    result: ResultCode
    loan_id: str | None = None
    by: str | None = None
    note: str | None = None
    task_id: str | None = None
    promise: PromiseWanted | None = None
    reason: NonpaymentReason | None = None


async def record(work: Work, made: ContactMade) -> str:
    """Record a contact once, with everything its result calls for; return its id."""
    result, case = RESULTS[made.result], work.case
    at, channel = made.at or work.at, made.channel or "call"
    if at > work.at + LATEST:
        raise DomainError(422, "invalid_request", "a contact cannot be in the future")
    if made.loan_id is not None:
        work.debt(made.loan_id)
    contact_id = work.new_id("k", made.task_id)
    row = ContactRow(
        case.tenant, case.borrower_id, contact_id, case.case_id, case.spell, channel, at, made.result.value, made.loan_id,
        made.task_id, made.by or work.by, made.note, work.at,
    )  # fmt: skip
    if not await matters.record(work.conn, row):
        return contact_id
    said = ContactRecorded(
        contact_id=contact_id, borrower_id=case.borrower_id, channel=channel, at=at,  # type: ignore[arg-type]  # a name of the contract's list
        by=row.by, loan_id=made.loan_id, result=result.counts_as,
    )  # fmt: skip
    work.out.messages.append(work.desk.task_message(case, "contact.recorded.v1", contact_id, work.at, data=said))
    work.out.entries.append(work.entry(
        "contact.recorded", reason=made.result.value, contact_id=contact_id, channel=channel, at=at, loan_id=made.loan_id,
        task_id=made.task_id, right_party=result.right_party, by=row.by,
    ))  # fmt: skip
    if made.reason is not None:
        note_reason(work, made.reason)
    await _follow_up(work, made, contact_id)
    return contact_id


def note_reason(work: Work, reason: NonpaymentReason) -> None:
    """Record why the borrower does not pay."""
    work.case = replace(work.case, nonpayment_reason=reason.value)
    work.out.entries.append(work.entry("case.nonpayment_reason", reason=reason.value, by=work.by))


def note(work: Work, text: str) -> str:
    """Add a note; return its id."""
    note_id = work.new_id("n")
    work.out.entries.append(work.entry("case.note", note_id=note_id, text=text, by=work.by))
    return note_id


async def _follow_up(work: Work, made: ContactMade, contact_id: str) -> None:
    result = RESULTS[made.result]
    if made.promise is not None:
        loans = made.promise.loans or ((made.loan_id,) if made.loan_id else ())
        await make(work, dataclasses.replace(made.promise, loans=loans, channel=made.channel), contact_id)
    if result.opens is not None:
        await open_matter(work, MatterWanted(result.opens, made.loan_id, None, made.channel, made.note), contact_id)
    if result.stops is not None:
        contacts = default_contacts(result.stops, of_debt=False)
        await set_hold(work, HoldWanted(result.stops, contacts, work.at, reason=made.result.value), contact_id)
