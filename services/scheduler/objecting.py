"""What borrowers raise: disputes, complaints, hardship, a number that is not theirs; opened, and answered by a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import RowMapping

from libs.common.errors import DomainError
from services.scheduler.casework import Work
from services.scheduler.domain.matters import MATTERS, MatterKind, Outcome
from services.scheduler.holding import HoldWanted, end_all, of_source, set_hold
from services.scheduler.store import matters
from services.scheduler.store.matters import MatterRow, Resolution


@dataclass(frozen=True, slots=True)
class MatterWanted:
    """What was raised: about which debt and which line of it, on which channel, in which words."""

    kind: MatterKind
    loan_id: str | None = None
    line: str | None = None
    channel: str | None = None
    note: str | None = None


async def open_matter(work: Work, wanted: MatterWanted, *about: object) -> str:
    """Open a matter and return its id; until a person answers it, contacts pause as its entry in the table says."""
    matter, case = MATTERS[wanted.kind], work.case
    if wanted.loan_id is not None:
        work.debt(wanted.loan_id)
    matter_id = work.new_id("m", wanted.kind.value, *about)
    row = MatterRow(
        case.tenant, case.borrower_id, matter_id, case.case_id, wanted.kind.value, work.at, work.by, wanted.loan_id, wanted.line,
        wanted.channel, wanted.note,
    )  # fmt: skip
    if not await matters.open_(work.conn, [row]):
        return matter_id
    for loan_id in _loans(work, wanted) if matter.of_debt else (None,):
        for channel in matter.channels or [None]:
            hold = HoldWanted(
                matter.stop, matter.contacts, work.at, loan_id=loan_id, channel=channel, reason=wanted.kind.value, source=matter_id,
                matter=wanted.kind.value,
            )  # fmt: skip
            await set_hold(work, hold, matter_id, loan_id, channel)
    work.desk.event(
        work.case, f"case.{wanted.kind.value}_opened", work.at, work.out, matter_id=matter_id, loan_id=wanted.loan_id, line=wanted.line,
        channel=wanted.channel, by=work.by,
    )  # fmt: skip
    return matter_id


def _loans(work: Work, wanted: MatterWanted) -> Sequence[str | None]:
    """Return the debts it is about: the one named, else all overdue ones; in a case without debts, the person."""
    if wanted.loan_id is not None:
        return [wanted.loan_id]
    return [debt.loan_id for debt in work.case.owed or work.case.debts] or [None]


async def resolve(work: Work, matter_id: str, outcome: Outcome, answer: str | None) -> RowMapping:
    """Record the outcome; contacts resume."""
    row = await find(work, matter_id)
    if row.state != "open":
        if row.outcome == outcome.value:
            return row
        raise DomainError(409, "conflict", f"it is already resolved: {row.outcome}", outcome=row.outcome)
    await matters.resolve(work.conn, work.of[:2], matter_id, Resolution(outcome.value, answer, work.by, work.at))
    await end_all(work, of_source(work, matter_id), f"{row.kind}_{outcome.value}")
    work.desk.event(
        work.case, f"case.{row.kind}_resolved", work.at, work.out, reason=outcome.value, matter_id=matter_id, loan_id=row.loan_id,
        by=work.by,
    )  # fmt: skip
    return await find(work, matter_id)


async def find(work: Work, matter_id: str) -> RowMapping:
    """Return a matter of the case; raise if it is unknown."""
    row = await matters.find(work.conn, work.of, matter_id)
    if row is None:
        raise DomainError(404, "not_found", f"this case has no matter {matter_id[:128]}")
    return row
