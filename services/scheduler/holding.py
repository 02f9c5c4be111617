"""Holds: set by people, by a promise or by what a borrower raises; and ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import RowMapping

from libs.common.contracts.contact_tasks import HoldSet
from libs.common.errors import DomainError
from libs.common.value import replace
from libs.compliance import STOPS, StopKind, StopScope
from services.scheduler.casework import Work
from services.scheduler.domain.errands import key_of_stop
from services.scheduler.domain.stops import Ending, Hold, Stop
from services.scheduler.pausing import Release, clocks_paused
from services.scheduler.store import errands, holds
from services.scheduler.store.errands import Done
from services.scheduler.store.holds import HoldRow

OF_PEOPLE = frozenset(StopKind) - {StopKind.PROMISE, StopKind.IN_DOUBT}
"""Stops a person may set; the others come from making a promise, and from ingest when a debt is in doubt."""


@dataclass(frozen=True, slots=True)
class HoldWanted:
    """A requested hold; without `until` and `ends_with` it stands until a person ends it."""

    stop: StopKind
    contacts: str
    from_at: datetime
    until: datetime | None = None
    ends_with: Ending | None = None
    loan_id: str | None = None
    channel: str | None = None
    pause: bool = False
    reason: str | None = None
    source: str | None = None
    matter: str | None = None


async def set_hold(work: Work, wanted: HoldWanted, *about: object) -> str:
    """Set a hold and announce it; return its id. The same request sets it once."""
    row = hold_row(work, wanted, *about)
    if await holds.put(work.conn, [row]):
        announce(work, row)
    return row.hold_id


def hold_row(work: Work, wanted: HoldWanted, *about: object) -> HoldRow:
    """Return a hold of this case as stored."""
    case = work.case
    paused = [d.loan_id for d in case.debts if d.active and wanted.loan_id in (None, d.loan_id)] if wanted.pause else []
    return HoldRow(
        case.tenant, case.borrower_id, work.new_id("hold", *about), case.case_id, wanted.stop.value, wanted.contacts, wanted.from_at,
        wanted.until, work.by, work.at, wanted.loan_id, wanted.channel, wanted.ends_with, wanted.source, wanted.matter, " ".join(paused),
        wanted.reason,
    )  # fmt: skip


def announce(work: Work, row: HoldRow) -> None:
    """Announce a hold: to the notifier, as a case event and, if the overdue clock is paused too, to ingest."""
    case, out, desk, paused = work.case, work.out, work.desk, tuple(row.paused.split())
    said = HoldSet(
        hold_id=row.hold_id, borrower_id=case.borrower_id, case_id=case.case_id, stop=row.stop,  # type: ignore[arg-type]  # names of the contract's lists
        contacts=row.contacts, from_=row.from_at, until=row.until, loan_id=row.loan_id, channel=row.channel,  # type: ignore[arg-type]  # as above
    )  # fmt: skip
    out.messages.append(desk.task_message(case, "case.hold_set.v1", row.hold_id, work.at, data=said))
    desk.event(
        case, "case.held", work.at, out, reason=row.stop, hold_id=row.hold_id, contacts=row.contacts, until=row.until,
        ends_with=row.ends_with, loan_id=row.loan_id, channel=row.channel, paused=paused, by=work.by, **{"from": row.from_at},
    )  # fmt: skip
    ends_with = None if row.ends_with is None else Ending(row.ends_with)
    hold = Hold(case.case_id, ends_with, row.source, row.matter, paused)
    stop = Stop(row.hold_id, row.stop, row.from_at, row.until, row.loan_id, row.channel, hold, row.contacts)
    out.messages += clocks_paused(case, stop, work.telling)
    work.case = replace(case, stops=(*case.stops, stop))


async def end_hold(work: Work, hold_id: str, why: str) -> RowMapping:
    """End a hold set by a person; one that belongs to a promise or matter ends with that."""
    row = await holds.find(work.conn, work.of, hold_id)
    if row is None:
        raise DomainError(404, "not_found", f"this case has no hold {hold_id[:128]}")
    if row.source is not None:
        raise DomainError(409, "conflict", f"this hold belongs to {row.source} and ends with it", source=row.source)
    if row.ended_at is None:
        await end_all(work, [stop for stop in work.case.stops if stop.status_id == hold_id], why)
    return await holds.find(work.conn, work.of, hold_id) or row


async def end_all(work: Work, stops: Sequence[Stop], why: str) -> None:
    """End these holds now, and the tasks given because of them."""
    for stop in stops:
        await _end_task(work, key_of_stop(stop))
        work.desk.release(work.case, Release(stop, why, work.by), work.at, work.out)
        gone = stop.status_id
        work.case = replace(work.case, stops=tuple(one for one in work.case.stops if one.status_id != gone))
    ended, work.out.ended = work.out.ended, []
    await holds.end(work.conn, ended)


async def _end_task(work: Work, key: str) -> None:
    for task_id in [errand.task_id for errand in work.case.errands if errand.key == key and errand.done_at is None]:
        if (ended := await errands.complete(work.conn, work.case.tenant, task_id, Done(work.by, work.at))) is not None:
            work.out.entries.append(work.entry("task.completed", reason=ended.kind, task_id=task_id, by=work.by))


def of_source(work: Work, source: str) -> list[Stop]:
    """Return the holds of this case that belong to a promise or a matter."""
    return [stop for stop in work.case.stops if stop.hold is not None and stop.hold.source == source]


def default_contacts(stop: StopKind, *, of_debt: bool) -> str:
    """Return which contacts a stop still allows by default: a dispute of one debt allows none about it."""
    if stop is StopKind.DISPUTE and of_debt:
        return "none"
    return STOPS[stop].contacts.value


def needs_channel(stop: StopKind) -> bool:
    """Return whether a stop applies to a channel."""
    return STOPS[stop].scope is StopScope.CHANNEL
