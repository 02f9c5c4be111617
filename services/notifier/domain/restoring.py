"""A database that went back in time: what becomes of deliveries that the lost time may have attempted."""

from __future__ import annotations

from datetime import datetime, timedelta

from libs.common.value import replace
from services.notifier.domain.delivery import Change, Delivery, held
from services.notifier.domain.states import State

LOST = "records_lost"
"""Why a task is unknown that was asked for before its database went back in time: it may have gone out."""
UNPROVEN = "unproven"
"""Of a delivery: what has arrived in the time that its database lost is being read again."""
TOUCHED = "touched"
"""Of a delivery: something about its borrower has arrived since, and may have had it sent in that time."""
CLOCKS_APART = timedelta(seconds=5)
"""The clocks of the databases, and of one before and after a failover, differ by less."""
PROOF_AGAIN = timedelta(seconds=1)
NUMBERS_OF_AN_EPOCH = 100_000
"""Outcomes after a restore are numbered above all that the lost time can have announced."""


def restored(delivery: Delivery, *, epoch: int, since: datetime, resolve_by: datetime, reads_again: bool) -> Change:
    """Return what becomes of an open delivery of a database that went back in time and began this epoch then.

    What was due only after that cannot have been attempted before, unless it waited and something arrived that made it due sooner. Where
    the bus is read again from before the lost time, that is seen: until then it is unproven. Everything else may have gone out in the
    lost time, on any of its channels.
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
    """Return a pending delivery that the lost time may have attempted: it waits for the proof, to its end."""
    if delivery.lost_time == TOUCHED or now >= delivery.request.expires_at:
        return held(replace(delivery, lost_time=None), LOST, resolve_by=resolve_by)
    return Change(replace(delivery, next_at=now + PROOF_AGAIN))


def asked_again(delivery: Delivery, *, asked_at: datetime, epoch: int, since: datetime, resolve_by: datetime) -> Change:
    """Return a request that has come in an epoch after the first: unknown where the lost time may have attempted it."""
    if max(asked_at, delivery.request.not_before) >= since + CLOCKS_APART:
        return Change(delivery)
    return held(_numbered_anew(delivery, epoch), LOST, resolve_by=resolve_by)


def _numbered_anew(delivery: Delivery, epoch: int) -> Delivery:
    return replace(delivery, sequence=max(delivery.sequence, (epoch - 1) * NUMBERS_OF_AN_EPOCH))
