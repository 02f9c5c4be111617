"""Events that claim the same key of a loan: which is a repeat, which a conflict, and which gets the key after a retraction.

A retracted event holds no key: its key is free, as if the event had never been sent. So a correction under the same key is accepted
whether it comes before or after the retraction; until then it waits, parked as a conflict or, if it has the same content, as a repeat.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar, assert_never

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.domain.events import LoanEvent, Retracted
from services.ingest.domain.product import DEFAULT
from services.ingest.domain.select import not_retracted
from services.ingest.folding import accepted_of
from services.ingest.reading import business_key, key_in_words, to_domain
from services.ingest.store import events as log
from services.ingest.store.events import RETRACTED, Identity, LogRow
from services.ingest.store.loans import Key
from services.ingest.store.parked import ParkedRow

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Take:
    """The event is new; the row holds the key unless it is itself retracted."""

    row: LogRow


@dataclass(frozen=True, slots=True)
class Repeat:
    """The event changes nothing; one with another event id counts once the event that it repeats is retracted."""

    other_id: bool


@dataclass(frozen=True, slots=True)
class Conflict:
    """The event contradicts an accepted one."""

    detail: str


@dataclass(frozen=True, slots=True)
class Contender(Generic[A]):
    """An event that found its key taken, now or when it was set aside."""

    row: LogRow
    arrival: A
    parked: ParkedRow | None = None
    remembered: bool = False


@dataclass(slots=True)
class Contest(Generic[A]):
    """What became of the contenders: added to the log, to be parked, or no longer waiting."""

    taken: list[tuple[LogRow, A]] = field(default_factory=list)
    conflicts: list[tuple[A, str]] = field(default_factory=list)
    ended: list[ParkedRow] = field(default_factory=list)
    repeats: list[LogRow] = field(default_factory=list)
    forgotten: list[Identity] = field(default_factory=list)


class Keys:
    """Which event holds which key of one loan.

    The rows must include the loan's retractions. If they are all of its events (`whole`), an event no longer retracted gets its key back.
    """

    def __init__(self, rows: Iterable[LogRow], *, whole: bool) -> None:
        self._standing = {row.identity: row for row in rows}
        self._retractions = [_domain(row) for row in self._standing.values() if row.type == RETRACTED]
        named = (event for event in self._retractions if isinstance(event, Retracted))
        self._named = {(event.source or event.place.source, event.event_id) for event in named}
        self._holders: dict[str, LogRow] = {}
        self.changed: list[LogRow] = []
        """Rows that lost their key by a retraction, or got it back when the retraction was itself retracted."""
        self._free()
        if whole:
            self._give_back()

    def judge(self, row: LogRow) -> Take | Repeat | Conflict:
        """Return what an event is; if it is accepted, it holds its key from now on."""
        same = self._standing.get(row.identity)
        if same is not None:
            if same.content == row.content or self._is_retracted(same):
                return Repeat(other_id=False)
            return Conflict(f"event {row.event_id} was accepted with different content")
        key = row.business_key
        holder = None if key is None or self._is_retracted(row) else self._holders.get(key)
        if key is None or holder is None:
            return Take(self._held(row))
        if holder.data == row.data:
            return Repeat(other_id=True)
        return Conflict(f"event {holder.event_id} ({row.type}) has {key_in_words(row.type, key)} with different data")

    def _held(self, row: LogRow) -> LogRow:
        taken = msgspec.structs.replace(row, business_key=None) if self._is_retracted(row) else row
        self._standing[taken.identity] = taken
        if taken.business_key is not None:
            self._holders[taken.business_key] = taken
        return taken

    def _free(self) -> None:
        for row in list(self._standing.values()):
            if row.business_key is not None:
                if self._is_retracted(row):
                    self._change(row, None)
                else:
                    self._holders[row.business_key] = row

    def _give_back(self) -> None:
        for row in list(self._standing.values()):
            if row.business_key is None and row.type != RETRACTED and not self._is_retracted(row):
                key = business_key(accepted_of(row).data)
                if key is not None and key not in self._holders:
                    self._holders[key] = self._change(row, key)

    def _change(self, row: LogRow, key: str | None) -> LogRow:
        changed = self._standing[row.identity] = msgspec.structs.replace(row, business_key=key)
        self.changed.append(changed)
        return changed

    def _is_retracted(self, row: LogRow) -> bool:
        if (row.source, row.event_id) not in self._named or row.type == RETRACTED:
            return False
        kept, _ = not_retracted([_domain(row), *self._retractions])
        return not kept


async def settle(conn: AsyncConnection, contenders: Sequence[Contender[A]], retracted: Sequence[Key]) -> Contest[A]:
    """Judge the contenders in order and write the results; for loans with a new retraction, every key is checked."""
    contest: Contest[A] = Contest()
    if not contenders and not retracted:
        return contest
    keys = await _keys(conn, contenders, retracted)
    for contender in contenders:
        _enter(contest, contender, keys[contender.row.tenant, contender.row.loan_id].judge(contender.row))
    await log.put_keys(conn, [row for one in keys.values() for row in one.changed])
    await log.forget_repeats(conn, contest.forgotten)
    await log.remember_repeats(conn, contest.repeats)
    if contest.taken:
        await log.insert(conn, [row for row, _ in contest.taken])
    return contest


async def _keys(conn: AsyncConnection, contenders: Sequence[Contender[A]], retracted: Sequence[Key]) -> dict[Key, Keys]:
    whole = set(retracted)
    others = [one.row for one in contenders if (one.row.tenant, one.row.loan_id) not in whole]
    standing = await log.of_loans(conn, sorted(whole)) if whole else {}
    if others:
        standing |= {(row.tenant, row.loan_id): [] for row in others}
        for row in await log.same_keys(conn, others):
            standing[row.tenant, row.loan_id].append(row)
    return {key: Keys(rows, whole=key in whole) for key, rows in standing.items()}


def _enter(contest: Contest[A], contender: Contender[A], verdict: Take | Repeat | Conflict) -> None:
    match verdict:
        case Conflict(detail):
            if contender.parked is None:
                contest.conflicts.append((contender.arrival, detail))
        case Take(row):
            contest.taken.append((row, contender.arrival))
        case Repeat(other_id):
            if other_id and not contender.remembered:
                contest.repeats.append(contender.row)
        case _:
            assert_never(verdict)
    if contender.parked is not None and not isinstance(verdict, Conflict):
        contest.ended.append(contender.parked)
    if contender.remembered and not (isinstance(verdict, Repeat) and verdict.other_id):
        contest.forgotten.append(contender.row.identity)


def _domain(row: LogRow) -> LoanEvent:
    """Return an event of the log in the form of the rules; the day on which it counts does not matter here."""
    return to_domain(accepted_of(row), "UTC", DEFAULT)
