"""Folding stored loans again: a rebuild that a person asks for, and the one that a new release makes by itself.

Both make each loan anew out of the log and compare it with what is stored. What was said of a loan last is not stored; it is told from
the stored row. The columns are what the rules that wrote them showed, and a stored book gives the whole fact:

- a book of this release must be the one that a refold gives, to the last field;
- a book of another release is asked for the fact that it gives under today's rules. Where that and the columns are what the refold gives,
  nothing is said. Where it cannot be read, or is older than `facts.SAID_SINCE`, nobody can know what was said of it, and the fact is said
  anew: once too often rather than once too little.

A loan whose timer is due is compared as it stood just before: that nobody has looked at it since is no difference.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
from sqlalchemy.exc import NoResultFound
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common import logs
from libs.common.clock import pause
from libs.common.db.failures import is_transient
from libs.common.repeating import patiently, repeat
from services.ingest import facts, folding
from services.ingest.domain.book import Book
from services.ingest.domain.fold import FOLD
from services.ingest.facts import Phase
from services.ingest.folding import Loan
from services.ingest.ledger import MAKING, Ledger, refold_from
from services.ingest.store import events as log
from services.ingest.store import loans, rebuilding
from services.ingest.store.events import LogRow
from services.ingest.store.loans import Key, LoanRow
from services.ingest.store.rebuilding import Stored

LOANS_A_BATCH = 200
EVENTS_A_BATCH = 1000
"""More are refolded at once only where one loan has more: the batch holds its locks, and in a service the loop, that long."""
BETWEEN_BATCHES_S = 0.01
LOOK_EVERY_S = 60.0
"""How often a service looks for books of another release: one that is still running beside it makes them."""
MOST_UNDIGESTED = 200

_COUNTS = ("records", "accepted", "parked")
_STAMPED = ("product_version", "settings")
_SHOWN = (
    "borrower_id", "product", *_STAMPED, "currency", "timezone",
    "status", "anchor_on", "bucket", "overdue_total", "outstanding_total",
)  # fmt: skip
_PHASES = frozenset(phase.value for phase in Phase)


class TooManyUndigestedError(Exception):
    """The rules fail everywhere: better to stop than to put the whole book in doubt."""


class Remade(msgspec.Struct, frozen=True, gc=False):
    """A loan made anew out of its log as it must have stood at this moment, beside what is stored; `fields` are those that differ."""

    stored: Stored
    logged: Sequence[LogRow]
    loan: Loan
    moment: datetime
    fields: tuple[str, ...]

    @property
    def in_doubt(self) -> bool:
        """Say whether a person must look at it."""
        return self.loan.row.parked > 0 or self.loan.row.fold_error is not None


class Difference(msgspec.Struct, frozen=True):
    """A loan that is not what its events make of it."""

    key: Key
    fields: tuple[str, ...]


class Step(msgspec.Struct, frozen=True):
    """What came of a batch of loans, up to and with `last`."""

    read: int
    differences: tuple[Difference, ...]
    repaired: int
    in_doubt: int
    last: Key


@dataclass(slots=True)
class Tally:
    """What a rebuild has come to so far."""

    read: int = 0
    differing: int = 0
    repaired: int = 0
    in_doubt: int = 0
    last: Key | None = None

    def add(self, step: Step) -> None:
        """Count a batch."""
        self.read += step.read
        self.differing += len(step.differences)
        self.repaired += step.repaired
        self.in_doubt += step.in_doubt
        self.last = step.last

    @property
    def sentence(self) -> str:
        """Return the summary."""
        return f"{self.read} loans read, {self.differing} differed, {self.repaired} repaired, {self.in_doubt} in doubt"


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Reads loans in snapshots, without a lock; what differs there is locked, looked at again and repaired, its fact said anew."""

    engine: AsyncEngine
    ledger: Ledger
    repair: bool

    async def whole(self, tenants: Sequence[str], stop: asyncio.Event, *, after: Key | None = None) -> AsyncIterator[Step]:
        """Take all loans of these tenants, in the order of their ids, from behind `after`; ends early at the stop."""
        left = tenants if after is None else tenants[tenants.index(after[0]) :]
        for tenant in left:
            last = after[1] if after is not None and tenant == after[0] else ""
            while keys := await self._next(tenant, last, stop):
                step = await self._taken(keys, stop)
                if step is None:
                    return
                yield step
                last = keys[-1][1]
                await pause(stop, BETWEEN_BATCHES_S)

    async def one(self, tenants: Sequence[str], loan_id: str, stop: asyncio.Event) -> AsyncIterator[Step]:
        """Take one loan, of whichever of these tenants has it."""
        step = await self._taken([(tenant, loan_id) for tenant in tenants], stop)
        if step is not None:
            yield step

    async def about(self) -> int:
        """Return about how many loans there are."""
        async with self.engine.connect() as conn:
            return await rebuilding.about(conn)

    async def _taken(self, keys: Sequence[Key], stop: asyncio.Event) -> Step | None:
        """Take a batch; None when the stop came first."""
        return await patiently(lambda: self._step(keys), stop, passes=is_transient, note=_note)

    async def _next(self, tenant: str, after: str, stop: asyncio.Event) -> list[Key] | None:
        async def read() -> list[Key]:
            async with self.engine.connect() as conn:
                return _cut(await rebuilding.next_keys(conn, tenant, after, limit=LOANS_A_BATCH))

        return await patiently(read, stop, passes=is_transient, note=_note)

    async def _step(self, keys: Sequence[Key]) -> Step:
        async with self.engine.connect() as conn:
            await conn.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            seen = await remade(conn, self.ledger, keys, await self.ledger.clock.at(conn))
        there = [one for one in seen if one.stored.there or one.logged]
        different = {one.stored.row.key: one.fields for one in there if one.fields}
        if different and self.repair:
            repaired = await self._repair(list(different))
            different = {key: different[key] for key in repaired}
        return Step(
            read=len(there),
            differences=tuple(Difference(key, fields) for key, fields in different.items()),
            repaired=len(different) if self.repair else 0,
            in_doubt=sum(one.in_doubt for one in there),
            last=keys[-1],
        )

    async def _repair(self, keys: Sequence[Key]) -> list[Key]:
        async with self.engine.begin() as conn:
            await loans.lock(conn, keys)
            now = await self.ledger.clock.at(conn)
            different = [one for one in await remade(conn, self.ledger, keys, now) if one.fields]
            await mend(conn, self.ledger, different, now)
        return [one.stored.row.key for one in different]


@dataclass(slots=True)
class Upgrade:
    """Folds the loans again whose books another release made, and says those facts that have changed by it."""

    engine: AsyncEngine
    ledger: Ledger
    _been_round: bool = False
    _undigested: int = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Look for such loans again and again until stopped; after an upgrade there are many, otherwise none."""
        await repeat(lambda: self._pass_and_wake(stop), stop, every_s=LOOK_EVERY_S, worker="ingest/upgrade")

    async def one_pass(self, stop: asyncio.Event) -> int:
        """Take all of them once, and return how many facts had changed; what could not be folded is tried once in a process's life."""
        after, changed = ("", ""), 0
        while not stop.is_set():
            async with self.engine.connect() as conn:
                keys = _cut(await rebuilding.outdated(conn, after, failed=not self._been_round, limit=LOANS_A_BATCH))
            if not keys:
                self._been_round = True
                break
            changed += await self._batch(keys)
            after = keys[-1]
            await pause(stop, BETWEEN_BATCHES_S)
        return changed

    async def _pass_and_wake(self, stop: asyncio.Event) -> None:
        if changed := await self.one_pass(stop):
            logs.get("ingest").info("said_anew", loans=changed)
            self.ledger.outbox.wake.set()

    async def _batch(self, keys: Sequence[Key]) -> int:
        async with self.engine.begin() as conn:
            await loans.lock(conn, keys)
            now = await self.ledger.clock.at(conn)
            found = [one for one in await remade(conn, self.ledger, keys, now) if one.stored.row.fold != FOLD]
            undigested = self._undigested + sum("fold_error" in one.fields and one.loan.row.fold_error is not None for one in found)
            if undigested > MOST_UNDIGESTED:
                raise TooManyUndigestedError(f"fold {FOLD} fails on more than {MOST_UNDIGESTED} loans: go back to the release before")
            different = [one for one in found if one.fields]
            await mend(conn, self.ledger, different, now)
            await loans.save(conn, [_with_new_book(one) for one in found if not one.fields and one.loan.row.fold_error is None])
        self._undigested = undigested
        return len(different)


async def remade(conn: AsyncConnection, ledger: Ledger, keys: Sequence[Key], now: datetime) -> list[Remade]:
    """Make these loans anew out of their logs, and compare."""
    logged = await log.of_loans(conn, keys)
    found = []
    for one in await rebuilding.stored(conn, keys):
        events, moment = logged[one.row.key], _compared_at(one.row, now)
        loan = _bare(one, len(events))
        await _stamp(conn, ledger, one, loan, events)
        if events:
            refold_from(events, loan, moment)
        found.append(Remade(one, events, loan, moment, tuple(_differences(one, loan, moment=moment, now=now))))
    return found


async def mend(conn: AsyncConnection, ledger: Ledger, different: Sequence[Remade], now: datetime) -> None:
    """Store these locked loans as their events make them, and say their facts anew."""
    if different:
        await ledger.announce(conn, [_mended(one, now) for one in different], now, by_time=False)


def _cut(keys: Sequence[tuple[Key, int]]) -> list[Key]:
    """Return as many loans as one batch should take."""
    return next(log.in_groups(keys, EVENTS_A_BATCH), [])


def _bare(stored: Stored, accepted: int) -> Loan:
    """Return a loan of which only is known what stands outside its row."""
    tenant, loan_id = stored.row.key
    return Loan(LoanRow(tenant, loan_id, records=accepted + stored.records, accepted=accepted, parked=stored.undecided), None)


async def _stamp(conn: AsyncConnection, ledger: Ledger, stored: Stored, loan: Loan, events: list[LogRow]) -> None:
    """Give a loan its product's settings; where its disbursement or that version cannot be read, those that it was given once."""
    try:
        await ledger.stamp(conn, loan, [(row, folding.accepted_of(row)) for row in events if row.type in MAKING])
    except (msgspec.MsgspecError, NoResultFound):
        loan.row.product_version, loan.row.settings = stored.row.product_version, stored.row.settings


def _compared_at(row: LoanRow, now: datetime) -> datetime:
    """Return the last moment of which the row must be true: now, or the one before its timer is due."""
    return now if row.next_at is None or row.next_at > now else row.next_at - timedelta.resolution


def _differences(stored: Stored, made: Loan, *, moment: datetime, now: datetime) -> list[str]:
    """Return the columns that are not what they should be; of those that only history tells, whether they can be true."""
    row, fresh = stored.row, made.row
    if not stored.there:
        return ["row"] if fresh.accepted else []
    found = [name for name in _COUNTS if getattr(row, name) != getattr(fresh, name)]
    if row.doubt_since is None and (fresh.parked or (row.fold_error and fresh.fold_error)):
        found.append("doubt_since")
    if (row.fold_error is None) != (fresh.fold_error is None):
        found.append("fold_error")
    if fresh.fold_error is not None:
        return found
    if row.known != fresh.known:
        found.append("known")
    if made.standing is not None:
        found += _shown_otherwise(stored, fresh, now)
        found += _unsaid(row, made.standing.phase)
    if _book_differs(row, made, moment):
        found.append("book")
    return found


def _shown_otherwise(stored: Stored, fresh: LoanRow, now: datetime) -> list[str]:
    """Return what is queried of a known loan and differs; a timer that is due is about to be set."""
    row = stored.row
    found = [name for name in _SHOWN if getattr(row, name) != getattr(fresh, name)]
    if (row.next_at is None or row.next_at > now) and row.next_at != fresh.next_at:
        found.append("next_at")
    return found if stored.linked else [*found, "borrower_loans"]


def _unsaid(row: LoanRow, phase: Phase) -> list[str]:
    """Return what shows that the last fact is not that of the loan's phase, or was never said."""
    if row.published:
        return [] if row.phase == phase.value else ["phase"]
    return ["published"] if phase in (Phase.DUE_SOON, Phase.OVERDUE) else []


def _book_differs(row: LoanRow, made: Loan, moment: datetime) -> bool:
    """Say whether the stored book is another, or, if another release made it, whether another fact was said of it."""
    if row.book is None:
        return made.row.accepted > 0
    book = _readable(row)
    if made.book is None:
        return book is None or book.known
    if row.fold == FOLD:
        return book is None or msgspec.structs.replace(made.book, as_of=book.as_of) != book
    return row.published and (row.fold < facts.SAID_SINCE or book is None or _says_otherwise(book, made, moment))


def _says_otherwise(book: Book, made: Loan, moment: datetime) -> bool:
    if made.book is None or made.standing is None or not book.known:
        return book.known or made.standing is not None
    try:
        before = facts.fact_of(book, facts.standing(book, moment), loan_id=made.row.loan_id, epoch=0, version=0)
    except Exception:  # noqa: BLE001  # whatever the rules raise on a book of other rules: what was said of it is not known
        return True
    return before != facts.fact_of(made.book, made.standing, loan_id=made.row.loan_id, epoch=0, version=0)


def _mended(one: Remade, now: datetime) -> Loan:
    """Return the loan as its events make it now, with what only its history tells."""
    row, fresh = one.stored.row, one.loan.row
    book = _trusted(row, one.moment)
    for name in (*_COUNTS, *_STAMPED):
        setattr(row, name, getattr(fresh, name))
    row.phase = row.phase if row.phase in _PHASES else None
    loan = Loan(row, book, touched=True, why="rebuild")
    refold_from(one.logged, loan, now)
    if row.parked and row.doubt_since is None:
        row.doubt_since = one.stored.doubted_at
    return loan


def _with_new_book(one: Remade) -> LoanRow:
    """Return the stored row with the book that this release makes; all else is as it was."""
    row = one.stored.row
    row.book, row.fold = one.loan.row.book, FOLD
    return row


def _readable(row: LoanRow) -> Book | None:
    try:
        return folding.stored_book(row)
    except (msgspec.MsgspecError, ValueError):
        return None


def _trusted(row: LoanRow, moment: datetime) -> Book | None:
    """Return the stored book, for the case that its events cannot be folded; one of another release only where it shows what was shown."""
    book = _readable(row)
    if book is None or row.fold == FOLD:
        return book
    try:
        shown = facts.standing(book, moment).shown
    except Exception:  # noqa: BLE001  # as above
        return None
    return book if (shown.overdue.total, shown.outstanding.total) == (row.overdue_total, row.outstanding_total) else None


def _note(error: Exception) -> None:
    logs.get("rebuild").warning("waiting", reason=f"{type(error).__name__}: {error}"[:300])
