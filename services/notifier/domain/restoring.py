"""After a database went back in time: what becomes of deliveries that may have been attempted in the lost time."""

from __future__ import annotations

from datetime import datetime, timedelta

from libs.common.value import replace
from services.notifier.domain.delivery import Change, Delivery, held
from services.notifier.domain.states import State

LOST = "records_lost"
"""Why a task requested before its database went back is unknown: it may have gone out."""
UNPROVEN = "unproven"
"""On a delivery: the bus is being re-read for what arrived in the time that the database lost."""
TOUCHED = "touched"
"""On a delivery: something about its borrower has arrived since, and may have caused it to be sent in that time."""
CLOCKS_APART = timedelta(seconds=5)
"""The clocks of the databases, and of one before and after a failover, differ by less than this."""
PROOF_AGAIN = timedelta(seconds=1)
NUMBERS_OF_AN_EPOCH = 100_000
"""Outcomes after a restore are numbered above everything that can have been announced in the lost time."""


def restored(delivery: Delivery, *, epoch: int, since: datetime, resolve_by: datetime, reads_again: bool) -> Change:
    """Return what becomes of an open delivery when its database has gone back in time and begun this epoch.

    A delivery due only after `since` cannot have been attempted before, unless it was waiting and something arrived that made it due
    sooner. If the bus is re-read from before the lost time that will be seen; until then it is unproven. Everything else may have gone out
    in the lost time, on any of its channels.
    """
    anew = _numbered_anew(delivery, epoch)
    if anew.state is State.SENT:
        return Change(replace(anew, next_at=None))
    if anew.state is State.PENDING and anew.next_at is not None and anew.next_at >= since + CLOCKS_APART and anew.lost_time != TOUCHED:
        if not anew.waiting:
            return Change(anew)
        if reads_again:
            return Change(replace(anew, waiting=False, next_at=since + CLOCKS_APART, lost_time=UNPROVEN))
    return held(anew, LOST, resolve_by=resolve_by)


def unproven(delivery: Delivery, *, now: datetime, resolve_by: datetime) -> Change:
    """Return a pending delivery that may have been attempted in the lost time: it waits for proof until it expires."""
    if delivery.lost_time == TOUCHED or now >= delivery.request.expires_at:
        return held(replace(delivery, lost_time=None), LOST, resolve_by=resolve_by)
    return Change(replace(delivery, next_at=now + PROOF_AGAIN))


def asked_again(delivery: Delivery, *, asked_at: datetime, epoch: int, since: datetime, resolve_by: datetime) -> Change:
    """Return a request received in a later epoch than the first: unknown if it may have been attempted in the lost time."""
    if max(asked_at, delivery.request.not_before) >= since + CLOCKS_APART:
        return Change(delivery)
    return held(_numbered_anew(delivery, epoch), LOST, resolve_by=resolve_by)


def _numbered_anew(delivery: Delivery, epoch: int) -> Delivery:
    return replace(delivery, sequence=max(delivery.sequence, (epoch - 1) * NUMBERS_OF_AN_EPOCH))
