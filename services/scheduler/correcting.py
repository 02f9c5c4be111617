"""Facts that correct earlier ones: stored, and checked against the contacts made before they came, whichever arrives first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.cloudevents import Envelope
from libs.common.contracts import corrections as attributes
from libs.common.contracts.overdue_facts import OverdueFact
from libs.common.value import replace
from services.scheduler.acting import Desk
from services.scheduler.domain.builtin import CORRECTED_WORK
from services.scheduler.domain.corrected import Corrected, corrected
from services.scheduler.domain.planner import ErrandDue
from services.scheduler.outgoing import Outgoing, entry
from services.scheduler.store import cases, corrections
from services.scheduler.store.corrections import CorrectionRow, FlagRow
from services.scheduler.store.held import Held
from services.scheduler.store.story import Entry

CORRECTED_KEY = "contact_corrected"


def row_of(envelope: Envelope, fact: OverdueFact) -> CorrectionRow | None:
    """Return what a fact corrects; None if it corrects nothing."""
    if not envelope.corrects:
        return None
    return CorrectionRow(
        envelope.tenant, fact.borrower_id, fact.loan_id, fact.epoch, fact.version, fact.timezone, envelope.time, fact.caused_by,
        attributes.written(envelope.corrects)[attributes.DAYS],
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Review:
    """Flags contacts made on facts that were corrected since, and gives those without any ground to a person."""

    desk: Desk

    async def hold(self, conn: AsyncConnection, before: Sequence[Held], now: datetime) -> None:
        """Review the contacts of the spells these locked cases were in before this transaction's changes."""
        if not before:
            return
        held = await cases.lock(conn, [one.key for one in before])
        known = await corrections.of_borrowers(conn, sorted({(one.case.tenant, one.case.borrower_id) for one in held}))
        made = await corrections.made(conn, [one.case for one in before])
        flags: list[FlagRow] = []
        out, touched = Outgoing(), []
        for one in held:
            case = one.case
            new = corrected(made.get((case.tenant, case.case_id), ()), known.get((case.tenant, case.borrower_id), ()))
            if new:
                flags += [_flag(one, news, one.moment(now)) for news in new]
                touched.append(self._written(one, new, one.moment(now), out))
        await corrections.flag(conn, flags)
        if touched:
            await self.desk.save(conn, touched, out)

    def _written(self, held: Held, new: Collection[Corrected], at: datetime, out: Outgoing) -> Held:
        """Add it to the timeline, and give one task for all of the case's groundless contacts."""
        out.entries += [_entry(held, news, at) for news in new if not news.contact.corrected]
        case, given = held.case, [errand for errand in held.case.errands if errand.key == CORRECTED_KEY]
        if any(news.groundless for news in new) and all(errand.done_at is not None for errand in given):
            case = self.desk.give(case, ErrandDue(CORRECTED_KEY, len(given) + 1, CORRECTED_WORK), at, out)
        return replace(held, case=case, moved_at=at)


def _flag(held: Held, news: Corrected, at: datetime) -> FlagRow:
    case = held.case
    return FlagRow(case.tenant, case.borrower_id, news.contact.task_id, at, news.by.days[0].from_on, news.groundless)


def _entry(held: Held, news: Corrected, at: datetime) -> Entry:
    return entry(
        held.case, at, "contact.corrected", reason="nothing_was_due" if news.groundless else "told_otherwise",
        task_id=news.contact.task_id, step=news.contact.step, loan_id=news.by.loan_id, corrects_from=news.by.days[0].from_on,
        caused_by=news.by.caused_by,
    )  # fmt: skip
