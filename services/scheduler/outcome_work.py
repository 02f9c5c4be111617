"""Tasks made by outcomes: replies to a contact that no rule can answer are given to a person."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.value import replace
from services.scheduler.acting import Desk
from services.scheduler.domain.outcomes import work_after
from services.scheduler.domain.planner import ErrandDue
from services.scheduler.domain.policy import Work
from services.scheduler.outgoing import Outgoing
from services.scheduler.store import cases
from services.scheduler.store.held import CaseKey

SUPPRESSED = "contact.suppressed.v1"


async def give_work(conn: AsyncConnection, desk: Desk, said: Sequence[tuple[CaseKey, str, str | None]], now: datetime) -> None:
    """Give the work these outcomes (case, type, reason) call for, one task of a kind at a time in a case.

    A stop the case knows about has its own work when it suppresses a contact; the notifier's own stops show only in what they suppress.
    """
    wanted: dict[tuple[CaseKey, str], tuple[Work, bool]] = {}
    for key, kind, reason in sorted(said, key=lambda one: one[1] != SUPPRESSED):
        if (work := work_after(kind.removesuffix(".v1"), reason)) is not None:
            wanted[key, work.kind] = work, kind == SUPPRESSED
    if not wanted:
        return
    out, touched = Outgoing(), []
    for held in await cases.lock(conn, {key for key, _ in wanted}):
        case, at = held.case, held.moment(now)
        for (key, kind), (work, unless_stopped) in sorted(wanted.items(), key=lambda one: one[0][1]):
            given = [errand for errand in case.errands if errand.key == kind]
            mine = (key.tenant, key.case_id) == (case.tenant, case.case_id) and not (unless_stopped and case.stop(at))
            if mine and all(errand.done_at is not None for errand in given):
                case = desk.give(case, ErrandDue(kind, len(given) + 1, work), at, out)
        touched.append(replace(held, case=case, moved_at=at))
    await desk.save(conn, touched, out)
