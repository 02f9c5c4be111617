"""Input from the bus: facts, profiles, tasks and watermarks, one transaction for each batch of a partition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.bus.ports import Record
from libs.common.clock import Clock
from libs.common.cloudevents import Envelope, Reader
from libs.common.contracts.borrower_profiles import BorrowerErasure, BorrowerProfile, ConsentState, StatusState
from libs.common.contracts.catalogue import FACTS, PROFILES, TASKS
from libs.common.contracts.contact_tasks import ContactCancelled, ContactRequested, HoldEnded, HoldSet, PreferencesSet
from libs.common.contracts.overdue_facts import DebtWatermark, OverdueFact
from libs.common.contracts.wallet_borrowers import ContactRecorded
from libs.common.errors import PoisonError
from libs.common.outbox import Outbox
from libs.common.sealing import Ring
from services.notifier import page_preferences
from services.notifier.announcing import Announcer
from services.notifier.domain.delivery import Change, Delivery, called_off
from services.notifier.domain.reserving import meant
from services.notifier.domain.restoring import asked_again
from services.notifier.metrics import NotifierMetrics
from services.notifier.resealing import resealed
from services.notifier.store import borrowers, contacts, deliveries, erasing, gates, known, placing, reservations
from services.notifier.store.borrowers import Stamp, Who
from services.notifier.store.gates import Epoch

TOPICS = (FACTS, PROFILES, TASKS)
_K = TypeVar("_K")
_V = TypeVar("_V")


@dataclass(slots=True)
class Sorted:
    """A batch by kind, with the newest value for each key."""

    facts: dict[tuple[str, str, str], OverdueFact] = field(default_factory=dict)
    said_at: dict[tuple[str, str, str], datetime] = field(default_factory=dict)
    """When ingest published each fact."""
    profiles: dict[Who, BorrowerProfile] = field(default_factory=dict)
    erasures: dict[Who, Stamp] = field(default_factory=dict)
    consents: dict[tuple[str, str, str, str], tuple[Stamp, ConsentState | None]] = field(default_factory=dict)
    statuses: dict[tuple[str, str, str], tuple[Stamp, StatusState | None]] = field(default_factory=dict)
    contacts: list[contacts.Contact] = field(default_factory=list)
    holds: dict[tuple[str, str, str], known.HoldRow] = field(default_factory=dict)
    requests: dict[tuple[str, str, str], tuple[Envelope, ContactRequested]] = field(default_factory=dict)
    cancels: list[tuple[str, ContactCancelled]] = field(default_factory=list)
    wishes: list[tuple[str, PreferencesSet]] = field(default_factory=list)
    watermarks: dict[tuple[str, int], DebtWatermark] = field(default_factory=dict)
    who: set[Who] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Intake:
    """Takes in batches. The only lock order: the borrowers' rows, sorted, before anything of theirs."""

    clock: Clock
    outbox: Outbox
    announcer: Announcer
    reader: Reader
    metrics: NotifierMetrics
    resolve_within: timedelta
    ring: Ring

    async def take(self, conn: AsyncConnection, records: Sequence[Record]) -> None:
        """Store the batch and wake whatever was waiting for it."""
        batch = Sorted()
        for record in records:
            sort(batch, record, *self.reader.read(record))
        await borrowers.lock(conn, batch.who)
        newer = await known.keep_facts(conn, batch.facts)
        await self._on_payments(conn, batch, newer)
        # before the profiles: the new one of a borrower who came back would make the erasure look outdated, and what preceded it must go
        await erasing.forget(conn, await borrowers.erase(conn, list(batch.erasures.values())))
        await borrowers.keep_profiles(conn, {who: resealed(self.ring, who[0], profile) for who, profile in batch.profiles.items()})
        await borrowers.keep_consents(conn, batch.consents)
        await borrowers.keep_statuses(conn, batch.statuses)
        await reservations.settle(conn, batch.contacts)
        await _place(conn, {*batch.profiles, *((one.tenant, one.borrower_id) for one in batch.contacts)})
        await known.keep_holds(conn, list(batch.holds.values()))
        await page_preferences.keep(conn, batch.wishes)
        await self._on_tasks(conn, batch)
        if news := _with_news(batch, newer):
            await deliveries.wake(conn, news, now=await self.clock.at(conn))
        await gates.keep_watermarks(conn, batch.watermarks, now=self.clock.known())

    async def _on_payments(self, conn: AsyncConnection, batch: Sorted, newer: set[tuple[str, str, str]]) -> None:
        """Count contacts sent while the payment was on its way here: the price of having two services, measured to keep it small."""
        paid = [(key, batch.said_at[key]) for key in sorted(newer) if batch.facts[key].overdue.total == 0]
        if late := await contacts.count_begun_since(conn, paid):
            self.metrics.unaware_sends.inc(late)

    async def _on_tasks(self, conn: AsyncConnection, batch: Sorted) -> None:
        if not batch.requests and not batch.cancels:
            return
        now, epoch = await self.clock.at(conn), await gates.epoch(conn)
        until = now + self.resolve_within
        changes = [_as_delivery(envelope, request, epoch, resolve_by=until) for envelope, request in batch.requests.values()]
        new = await deliveries.take_requests(conn, [change.delivery for change in changes], now=now, epoch=epoch.number)
        kept = {(delivery.tenant, delivery.task_id) for delivery in new}
        announced = [change for change in changes if (change.delivery.tenant, change.delivery.task_id) in kept]
        cancelled = await deliveries.cancel(conn, batch.cancels, now=now, epoch=epoch.number)
        announced += [called_off(delivery) for delivery in cancelled]
        await self.outbox.append(conn, self.announcer.messages(announced, now=now))


async def _place(conn: AsyncConnection, who: set[Who]) -> None:
    """Work out which addresses other parties' contacts may have gone to; the borrowers are locked."""
    if not (found := await placing.unplaced(conn, who)):
        return
    held = await borrowers.lock_free(conn, {(one.tenant, one.borrower_id) for one in found})  # this transaction already holds these locks
    of = [(one, held[one.tenant, one.borrower_id].profile) for one in found]
    await placing.place(conn, [contacts.gone_to(one, meant(profile, one.channel, None)) for one, profile in of if profile is not None])


def sort(batch: Sorted, record: Record, envelope: Envelope, data: object) -> None:
    """Add a message to the batch."""
    tenant = envelope.tenant
    match data:
        case DebtWatermark():
            place = (record.topic, record.partition)
            batch.watermarks[place] = _greater(batch.watermarks.get(place), data, lambda mark: mark.until)
            return
        case OverdueFact():
            fact = (tenant, data.borrower_id, data.loan_id)
            batch.facts[fact] = _greater(batch.facts.get(fact), data, lambda found: found.order)
            if batch.facts[fact] is data:
                batch.said_at[fact] = envelope.time
        case BorrowerProfile() | BorrowerErasure() | ConsentState() | StatusState() | None:
            _sort_profile(batch, record, envelope, data)
        case _:
            _sort_task(batch, envelope, data)
    if data is not None:
        batch.who.add((tenant, str(getattr(data, "borrower_id", envelope.subject))))


def _sort_profile(
    batch: Sorted, record: Record, envelope: Envelope, data: BorrowerProfile | BorrowerErasure | ConsentState | StatusState | None
) -> None:
    tenant = envelope.tenant
    match data:
        case BorrowerProfile():
            who = (tenant, data.borrower_id)
            batch.profiles[who] = _greater(batch.profiles.get(who), data, lambda profile: (profile.time, profile.id))
        case BorrowerErasure():
            stamp = Stamp(tenant, data.borrower_id, data.time, data.id)
            who = (tenant, data.borrower_id)
            batch.erasures[who] = _greater(batch.erasures.get(who), stamp, lambda erasure: (erasure.time, erasure.id))
        case ConsentState():
            _newest(batch.consents, (tenant, data.borrower_id, data.channel, data.purpose), (_stamp(tenant, data), data))
        case StatusState():
            _newest(batch.statuses, (tenant, data.borrower_id, data.status_id), (_stamp(tenant, data), data))
        case None:
            _close(batch, record, envelope)


def _close(batch: Sorted, record: Record, envelope: Envelope) -> None:
    """Handle the closing of a compacted key: `tenant/borrower/what`."""
    match (record.key or b"").decode(errors="replace").split("/", 2):
        case [_, borrower_id, what]:
            stamp = Stamp(envelope.tenant, borrower_id, envelope.time, envelope.id)
        case _:
            raise PoisonError("unreadable", "a message without data must have a key of three parts")
    match what.split(":"):
        case ["consent", channel, purpose]:
            _newest(batch.consents, (stamp.tenant, borrower_id, channel, purpose), (stamp, None))
        case ["status", *rest] if rest:
            _newest(batch.statuses, (stamp.tenant, borrower_id, ":".join(rest)), (stamp, None))
        case ["profile"]:
            who = (stamp.tenant, borrower_id)
            batch.erasures[who] = _greater(batch.erasures.get(who), stamp, lambda erasure: (erasure.time, erasure.id))
        case _:
            raise PoisonError("unreadable", "a message without data closes an unknown key")
    batch.who.add((stamp.tenant, borrower_id))


def _sort_task(batch: Sorted, envelope: Envelope, data: object) -> None:
    tenant = envelope.tenant
    match data:
        case ContactRecorded():
            batch.contacts.append(contacts.recorded(tenant, data))
        case ContactRequested():
            batch.requests.setdefault((tenant, data.borrower_id, data.task_id), (envelope, data))
        case ContactCancelled():
            batch.cancels.append((tenant, data))
        case PreferencesSet():
            batch.wishes.append((tenant, data))
        case HoldSet() | HoldEnded():
            key = (tenant, data.borrower_id, data.hold_id)
            row = batch.holds.get(key) or known.HoldRow(tenant, data.borrower_id, data.hold_id, data.case_id, None, None, None)
            batch.holds[key] = _with(row, envelope, data)
        case _:
            raise PoisonError("unreadable", f"{envelope.type} is not for the notifier")


def _with(row: known.HoldRow, envelope: Envelope, data: HoldSet | HoldEnded) -> known.HoldRow:
    if isinstance(data, HoldEnded):
        return replace(row, ended=data)
    return row if row.time is not None and row.time > envelope.time else replace(row, set=data, time=envelope.time)


def _as_delivery(envelope: Envelope, request: ContactRequested, epoch: Epoch, *, resolve_by: datetime) -> Change:
    """Return a request as a delivery: due at its time, or unknown if a database that went back may have lost its outcome."""
    delivery = Delivery(envelope.tenant, request.borrower_id, request.task_id, request, next_at=request.not_before)
    if epoch.number == 1:
        return Change(delivery)
    return asked_again(delivery, asked_at=envelope.time, epoch=epoch.number, since=epoch.since, resolve_by=resolve_by)


def _with_news(batch: Sorted, newer: set[tuple[str, str, str]]) -> set[Who]:
    """Return the borrowers about whom something came that a delivery may be waiting for."""
    facts = {(tenant, borrower) for tenant, borrower, _ in newer}
    stops = {(key[0], key[1]) for key in (*batch.statuses, *batch.holds, *batch.consents)}
    stops |= {(tenant, wished.borrower_id) for tenant, wished in batch.wishes}
    return facts | stops | set(batch.profiles) | set(batch.erasures)


def _stamp(tenant: str, data: ConsentState | StatusState) -> Stamp:
    return Stamp(tenant, data.borrower_id, data.time, data.id)


def _newest(kept: dict[_K, tuple[Stamp, _V]], key: _K, value: tuple[Stamp, _V]) -> None:
    kept[key] = _greater(kept.get(key), value, lambda found: (found[0].time, found[0].id))


def _greater(before: _V | None, after: _V, order: Callable[[_V], tuple[object, ...] | object]) -> _V:
    return after if before is None or order(before) <= order(after) else before  # type: ignore[operator]  # moments, numbers and texts
