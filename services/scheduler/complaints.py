"""Complaints that the notifier reports: each is opened once, in the case whose message it answers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.contact_outcomes import ContactOutcome
from services.scheduler.acting import Desk
from services.scheduler.casework import Work, bring
from services.scheduler.domain.matters import MatterKind
from services.scheduler.objecting import MatterWanted, open_matter
from services.scheduler.store import cases
from services.scheduler.store.held import CaseKey

COMPLAINED = "contact.complained.v1"
BORROWER = "borrower"


async def open_complaints(
    conn: AsyncConnection, desk: Desk, keys: Sequence[CaseKey], heard: Sequence[ContactOutcome], *, now: datetime
) -> None:
    """Open the complaints; `keys` are all cases of these borrowers, already locked."""
    if not heard:
        return
    held, works = await cases.lock(conn, keys), []
    for outcome in heard:
        one = next(one for one in held if one.case.case_id == outcome.case_id)
        work = Work(conn, desk, one.case, one.moment(now), BORROWER, key=f"{outcome.task_id}/{outcome.sequence}")
        await open_matter(work, MatterWanted(MatterKind.COMPLAINT, channel=outcome.channel, note=outcome.reason))
        works.append(work)
    await bring(conn, desk, held, works, now=now)
