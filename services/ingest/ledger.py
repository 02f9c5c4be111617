"""Processing a batch of loan events: lock, add to the log, tell repeats from conflicts, fold, announce.

The order is fixed. Every loan concerned gets a row and is locked, in key order, before its events are added or read; so of a payment and
its disbursement in two open transactions one waits for the other, and the later one folds both. Nothing here commits: the batch's position
moves in the same transaction.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common import ids, logs
from libs.common.bus.ports import Message
from libs.common.clock import Clock
from libs.common.cloudevents import Envelope, Writer
from libs.common.contracts.catalogue import FACTS
from libs.common.contracts.overdue_facts import OverdueFact
from libs.common.contracts.wallet_loans import EventRetracted, LoanDisbursed
from libs.common.db import lineage
from libs.common.outbox import Outbox
from libs.common.turns import Turns
from services.ingest import contesting, correcting, decoding, facts, folding, stamping
from services.ingest.contesting import Contender
from services.ingest.decoding import WalletEvent
from services.ingest.folding import Loan
from services.ingest.reading import Accepted, business_key
from services.ingest.store import events as log
from services.ingest.store import loans as store
from services.ingest.store import parked
from services.ingest.store.events import LogRow
from services.ingest.store.loans import Key
from services.ingest.store.parked import Decided, Decision, ParkedRow
from services.ingest.store.products import ProductBook
from services.ingest.telling_apart import MOST_EVENTS, split_new, with_room

SOURCE = "dunwell/ingest"


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """An event as it arrived."""

    tenant: str
    topic: str
    event: WalletEvent
    received_at: datetime
    counted: bool = False
    """Whether it was counted before: on receipt over HTTP, or when it was set aside."""

    @property
    def key(self) -> Key:
        """Return (tenant, loan id)."""
        return self.tenant, self.event.about


class Fresh(msgspec.Struct, frozen=True, gc=False):
    """An event added to the log in this transaction: as logged, as it arrived, and as it is folded."""

    row: LogRow
    arrival: Arrival
    accepted: Accepted


@dataclass(slots=True)
class Counted:
    """The result of a batch: how many of the events published directly on the topic were new, and how many of all were parked."""

    accepted: int = 0
    repeats: int = 0
    parked: int = 0
    aside: list[ParkedRow] = field(default_factory=list)
    """What could not be accepted, whether it was parked before or not."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """The loans of all tenants in one schema."""

    clock: Clock
    outbox: Outbox
    writer: Writer
    products: ProductBook
    turns: Turns = field(default_factory=Turns)
    adding: log.Adding = field(default_factory=log.Adding)

    async def take(
        self, conn: AsyncConnection, arrivals: Sequence[Arrival], refused: Sequence[ParkedRow] = (), *, decided: Sequence[Decided] = ()
    ) -> Counted:
        """Process events, park unreadable records with their loans and carry out decisions, all in the caller's transaction."""
        counted = Counted()
        about = [*refused, *(row for row, _ in decided)]
        keys = {arrival.key for arrival in arrivals} | {(p.tenant, p.loan_id) for p in about if p.loan_id is not None}
        if not keys and not about:
            return counted
        locked = await self.locked(conn, keys)
        now = await self.clock.at(conn)
        rows = await self._log_rows(conn, arrivals)
        new = await self.adding.add(conn, [row for row, _ in rows]) if rows else set()
        fresh, others = split_new(rows, new)
        fresh, beyond = with_room(fresh, locked)
        await log.take_back(conn, [row.identity for row, _ in beyond])
        retracting = {a.key: a for _, a in fresh if type(a.event.data) is EventRetracted}
        waiting = await self._waiting(conn, retracting, decided) if retracting else []
        contest = await contesting.settle(conn, [*waiting, *(Contender(row, a) for row, a in others)], list(retracting))
        fresh = [*contest.taken, *fresh]
        undigested = await self._fold(conn, locked, fresh, now)
        counted.aside = [_parked(arrival, "conflict", detail, now) for arrival, detail in contest.conflicts]
        counted.aside += [_parked(arrival, "cannot_fold", "the ledger cannot digest this event", now) for arrival in undigested]
        counted.aside += [_parked(arrival, "too_many_events", f"a loan has at most {MOST_EVENTS} events", now) for _, arrival in beyond]
        counted.parked = await self._park(conn, locked, [*refused, *counted.aside], now)
        await self._resolve(conn, locked, [*decided, *_ended(contest.ended, counted.aside)], now)
        counted.accepted = uncounted(a for _, a in fresh) - uncounted(undigested)
        set_aside = [*(a for a, _ in contest.conflicts), *(a for _, a in beyond)]
        counted.repeats = uncounted(arrivals) - uncounted(a for _, a in fresh) - uncounted(set_aside)
        await self.announce(conn, [loan for loan in locked.values() if loan.touched], now, by_time=False)
        return counted

    async def locked(self, conn: AsyncConnection, keys: Iterable[Key]) -> dict[Key, Loan]:
        """Lock these loans, and refold those whose books other rules made."""
        loans = {key: folding.opened(row) for key, row in (await store.lock(conn, list(keys))).items()}
        outdated = [loan for loan in loans.values() if loan.book is None and loan.row.book is not None]
        if outdated:
            await self.refold(conn, outdated, await self.clock.at(conn))
        return loans

    async def announce(self, conn: AsyncConnection, loans: Sequence[Loan], now: datetime, *, by_time: bool) -> None:
        """Save these loans, and publish the facts worth publishing."""
        in_doubt = [loan.row.key for loan in loans if loan.row.parked]
        undecided = await parked.open_of(conn, in_doubt) if in_doubt else {}
        epoch, batch = await lineage.current(conn, self.outbox.schema), ids.fresh()
        messages: list[Message] = []
        said = await self.turns.each(loans, lambda one: self._fact(one, undecided.get(one.row.key, ()), epoch, now, by_time=by_time))
        for loan, (fact, type_) in zip(loans, said, strict=True):
            if fact is not None:
                envelope = Envelope(
                    type_, f"{batch}.{len(messages)}", SOURCE, now, loan.row.tenant, loan.row.loan_id, corrects=loan.corrects
                )
                key = f"{loan.row.tenant}/{loan.row.loan_id}"
                messages.append(self.writer.message(FACTS, envelope, fact, key=key, borrower_id=fact.borrower_id))
        await store.save(conn, [loan.row for loan in loans])
        await store.link(conn, [loan.row for loan in loans if loan.touched])
        await self.outbox.append(conn, messages)

    async def refold(self, conn: AsyncConnection, loans: Sequence[Loan], now: datetime) -> None:
        """Fold these locked loans from their events; one that cannot be folded is left in doubt."""
        logged = await log.of_loans(conn, [loan.row.key for loan in loans])
        for loan in loans:
            refold_from(logged[loan.row.key], loan, now)

    def _fact(self, loan: Loan, undecided: tuple[str, ...], epoch: int, now: datetime, *, by_time: bool) -> tuple[OverdueFact | None, str]:
        row, book, at = loan.row, loan.book, loan.standing
        if book is not None and not book.known and row.published:
            row.phase = facts.Phase.ENDED.value
            said = facts.withdrawn(row, epoch=epoch, now=now)
            return msgspec.structs.replace(said, caused_by=loan.cause), "debt.closed.v1"
        if book is None or not book.known or at is None:
            return None, ""
        before = folding.phase_before(row)
        if at.phase in (facts.Phase.QUIET, facts.Phase.ENDED) and not row.published:
            return None, ""
        doubt = facts.doubt_of(row.doubt_since, undecided, row.fold_error)
        occasion = facts.Occasion(loan.why or facts.reason_of(by_time=by_time, doubt=doubt), loan.cause, doubt)
        fact = facts.fact_of(book, at, loan_id=row.loan_id, epoch=epoch, version=row.records, on=occasion)
        row.phase, row.published, row.said_on = str(at.phase), True, row.said_on or at.shown.as_of
        return fact, facts.type_of(at.phase, before)

    async def _log_rows(self, conn: AsyncConnection, arrivals: Sequence[Arrival]) -> list[tuple[LogRow, Arrival]]:
        """Return the rows to add to the log; a disbursement is stamped with the product version in force."""
        names = [(a.tenant, a.event.data.product) for a in arrivals if type(a.event.data) is LoanDisbursed]
        versions = await self.products.newest(conn, names)
        return [(_log_row(a, versions), a) for a in arrivals]

    async def _waiting(self, conn: AsyncConnection, retracting: dict[Key, Arrival], decided: Sequence[Decided]) -> list[Contender[Arrival]]:
        """Return what was set aside because of events that may now be retracted; it counts as received with the retraction."""
        keys, beside = sorted(retracting), {row.parked_id for row, _ in decided}
        found: list[tuple[datetime, Arrival, ParkedRow | None]] = []
        for row in await parked.conflicts_of(conn, keys):
            event = decoding.structured(row.event)
            if row.parked_id not in beside and isinstance(event, WalletEvent):
                found.append((row.at, _resubmitted(retracting[row.tenant, str(row.loan_id)], event), row))
        for said in await log.repeats_of(conn, keys):
            data = decoding.stored(said.type, said.data)
            event = WalletEvent(said.event_id, said.source, said.type, said.time, data, said.data, said.data)
            found.append((said.received_at, _resubmitted(retracting[said.tenant, said.loan_id], event), None))
        found.sort(key=lambda one: one[0])
        rows = await self._log_rows(conn, [arrival for _, arrival, _ in found])
        return [Contender(row, arrival, of, of is None) for (row, arrival), (_, _, of) in zip(rows, found, strict=True)]

    async def _fold(
        self, conn: AsyncConnection, locked: dict[Key, Loan], fresh: Sequence[tuple[LogRow, Arrival]], now: datetime
    ) -> list[Arrival]:
        """Bring every loan with new events up to date, and return the events that cannot be folded."""
        by_loan: dict[Key, list[Fresh]] = {}
        for row, arrival in fresh:
            by_loan.setdefault((row.tenant, row.loan_id), []).append(Fresh(row, arrival, _accepted(row, arrival)))
        advanced = await self.turns.each(by_loan.items(), lambda one: _advance(locked[one[0]], one[1], now))
        again = [key for key, on in zip(by_loan, advanced, strict=True) if not on]
        stored = [key for key in again if locked[key].row.accepted > len(by_loan[key])]
        before = await log.of_loans(conn, stored) if stored else {}
        folds: list[Callable[[], list[Fresh]]] = []
        for key in again:
            loan, new = locked[key], by_loan[key]
            latest, settings = {one.row.identity for one in new}, loan.row.settings
            logged = _read(loan, [row for row in before.get(key, ()) if row.identity not in latest], now)
            if logged is None:
                continue
            await self.stamp(conn, loan, [*logged, *((one.row, one.accepted) for one in new)])
            folds.append(partial(_fold_all, loan, [one for _, one in logged], new, now, settings=settings))
        undigested = [one for cut in await self.turns.each(folds, lambda fold: fold()) for one in cut]
        await log.take_back(conn, [one.row.identity for one in undigested])
        return [one.arrival for one in undigested]

    async def stamp(self, conn: AsyncConnection, loan: Loan, logged: Iterable[tuple[LogRow, Accepted]]) -> None:
        """Give a loan the settings of the product version recorded with the disbursement that counts."""
        stamp = await stamping.stamp_of(conn, self.products, loan.row.tenant, logged)
        if stamp is not None:
            loan.row.product_version, loan.row.settings = stamp

    async def _park(self, conn: AsyncConnection, locked: dict[Key, Loan], rows: Sequence[ParkedRow], now: datetime) -> int:
        """Park events; each one not parked before adds a record to its loan and puts it in doubt."""
        new = await parked.insert(conn, rows)
        counted = set()
        for row in rows:
            if (row.tenant, row.parked_id) not in new or row.parked_id in counted:
                continue
            counted.add(row.parked_id)
            if row.loan_id is None:
                continue
            loan = locked[row.tenant, row.loan_id]
            loan.row.parked += 1
            loan.row.doubt_since = loan.row.doubt_since or row.at
            _recorded(loan, now)
        return len(counted)

    async def _resolve(self, conn: AsyncConnection, locked: dict[Key, Loan], decided: Sequence[Decided], now: datetime) -> None:
        """Write decisions; each adds a record to its loan, and the last open one ends the doubt."""
        await parked.resolve(conn, decided, now=now)
        for row, _ in decided:
            if row.loan_id is None:
                continue
            loan = locked[row.tenant, row.loan_id]
            loan.row.parked -= 1
            folding.end_doubt(loan.row)
            _recorded(loan, now)


def refold_from(logged: Sequence[LogRow], loan: Loan, now: datetime) -> None:
    """Fold a locked loan from its events; one that cannot be folded is left in doubt."""
    try:
        accepted = [folding.accepted_of(row) for row in logged]
        folding.settle(loan, folding.refolded(accepted, folding.line_of(loan.row), now), now)
    except Exception as error:  # noqa: BLE001  # a failing rule puts one loan in doubt, never the batch
        _doubt(loan, error, now)


def _read(loan: Loan, rows: Sequence[LogRow], now: datetime) -> list[tuple[LogRow, Accepted]] | None:
    """Return stored events of a loan with their data; None if one cannot be read, which leaves the loan in doubt."""
    try:
        return [(row, folding.accepted_of(row)) for row in rows]
    except Exception as error:  # noqa: BLE001  # damaged, or of a newer release: it concerns this loan alone
        _doubt(loan, error, now)
        return None


def _advance(loan: Loan, new: Sequence[Fresh], now: datetime) -> bool:
    """Count new events of a loan, and return whether its book could be advanced with them."""
    loan.touched, loan.cause = True, new[-1].row.event_id
    loan.row.records += len(new)
    loan.row.accepted += len(new)
    if loan.row.fold_error is not None:  # its book is without the events that could not be folded
        return False
    try:
        before, books = loan.book, folding.advanced(loan, [one.accepted for one in new], now)
        if books and before is not None:
            folding.settle(loan, books[-1], now)
            loan.corrects = correcting.after_advance(loan, before, books, now)
    except Exception:  # noqa: BLE001  # the refold will find out which event fails
        return False
    return bool(books)


def _fold_all(loan: Loan, before: list[Accepted], new: Sequence[Fresh], now: datetime, *, settings: bytes | None) -> list[Fresh]:
    """Fold a loan from its events, and return the new ones that cannot be folded; `settings` are those that it had without them."""
    digested, undigested = [*before, *(one.accepted for one in new)], list[Fresh]()
    if _try_settle(loan, digested, now) is not None:
        digested = list(before)
        undigested = _bisect(loan, digested, new, now)
        loan.row.records -= len(undigested)
        loan.row.accepted -= len(undigested)
        if (failed := _try_settle(loan, digested, now)) is not None:
            _doubt(loan, failed, now)
    loan.corrects = correcting.after_refold(loan, before, digested, now, settings=settings)
    return undigested


def _bisect(loan: Loan, digested: list[Accepted], new: Sequence[Fresh], now: datetime) -> list[Fresh]:
    """Halve the new events until those that the fold fails on are isolated; the others are added to `digested`."""
    failed = _try_settle(loan, [*digested, *(one.accepted for one in new)], now)
    if failed is None:
        digested += [one.accepted for one in new]
        return []
    if len(new) == 1:
        row = new[0].row
        logs.get("ledger").error(
            "event_undigested", tenant=row.tenant, loan_id=row.loan_id, event_id=row.event_id, reason=str(failed)[:300]
        )
        return list(new)
    middle = len(new) // 2
    return [*_bisect(loan, digested, new[:middle], now), *_bisect(loan, digested, new[middle:], now)]


def _try_settle(loan: Loan, accepted: Sequence[Accepted], now: datetime) -> Exception | None:
    try:
        folding.settle(loan, folding.refolded(accepted, folding.line_of(loan.row), now), now)
    except Exception as error:  # noqa: BLE001  # whatever a rule raises concerns this loan alone
        return error
    return None


def _doubt(loan: Loan, error: Exception, now: datetime) -> None:
    """Put a loan in doubt whose previously accepted events cannot be folded."""
    reason = f"{type(error).__name__}: {error}"
    logs.get("ledger").error("loan_undigested", tenant=loan.row.tenant, loan_id=loan.row.loan_id, reason=reason[:300])
    loan.row.fold_error = reason[:500]
    loan.row.doubt_since = loan.row.doubt_since or now
    loan.row.next_at = None
    with contextlib.suppress(Exception):  # if its book cannot be shown either, its fact waits until the loan is repaired
        loan.standing = facts.standing(loan.book, now) if loan.book is not None and loan.book.known else None


def _recorded(loan: Loan, now: datetime) -> None:
    """Count a record that is not an event."""
    loan.row.records += 1
    loan.touched = True
    if loan.standing is None and loan.book is not None and loan.book.known:
        loan.standing = facts.standing(loan.book, now)


def uncounted(arrivals: Iterable[Arrival]) -> int:
    """Return how many of these are still to be counted: those published directly on the topic."""
    return sum(not arrival.counted for arrival in arrivals)


def _log_row(arrival: Arrival, versions: dict[tuple[str, str], int]) -> LogRow:
    event, data = arrival.event, arrival.event.data
    version = versions.get((arrival.tenant, data.product)) if type(data) is LoanDisbursed else None
    key = business_key(data)  # type: ignore[arg-type]  # an arrival is a loan event
    return LogRow(
        arrival.tenant, event.about, event.source, event.id, event.type, event.time, key, event.content, version, arrival.received_at
    )  # fmt: skip


def _accepted(row: LogRow, arrival: Arrival) -> Accepted:
    return Accepted(row.source, row.event_id, row.type, row.time, arrival.event.data)  # type: ignore[arg-type]  # a loan event


def _resubmitted(by: Arrival, event: WalletEvent) -> Arrival:
    return Arrival(by.tenant, by.topic, event, by.received_at, counted=True)


def _ended(rows: Sequence[ParkedRow], aside: Sequence[ParkedRow]) -> list[Decided]:
    """Return the decisions that follow from a retraction; events that could not be folded keep waiting."""
    still = {row.parked_id for row in aside}
    return [(row, Decision("taken", "ledger", "the event it contradicted is retracted")) for row in rows if row.parked_id not in still]


def _parked(arrival: Arrival, error: str, detail: str, now: datetime) -> ParkedRow:
    """Return the row for an event that was read but cannot be used; the same event always gets the same id."""
    event = arrival.event
    parked_id = ids.derived("p", arrival.tenant, event.about, event.source, event.id, event.type, event.time.isoformat(), event.content)
    return ParkedRow(arrival.tenant, parked_id, event.about, None, arrival.topic, whole(event, event.content), error, detail, now)


def whole(event: WalletEvent, data: bytes) -> bytes:
    """Return the event as one JSON document, with this as its data."""
    head = {"specversion": "1.0", "id": event.id, "source": event.source, "type": event.type, "time": event.time}
    return msgspec.json.encode({**head, "data": msgspec.Raw(data)})
