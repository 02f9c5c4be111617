"""The claim: one transaction that checks everything a contact needs in order to start, and marks it as started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common import logs
from libs.common.bus.ports import partition_of
from libs.common.clock import Clock
from libs.common.contracts.catalogue import FACTS, PROFILES
from libs.common.contracts.contact_tasks import ContactRequested
from libs.common.db import positions
from libs.common.db.engine import by_keys
from libs.common.db.engine import timeline as timeline_of
from libs.common.outbox import Outbox
from libs.common.value import Value, replace
from libs.compliance import CapKey, CapScope, Packs
from services.notifier.announcing import Announcer
from services.notifier.calendars import Calendars
from services.notifier.directory import Directory
from services.notifier.domain.delivery import Change, Delivery, Task, fallen_back, judged, kept_waiting, unknown, unresolved
from services.notifier.domain.gatekeeping import Asked, counters, jurisdictions
from services.notifier.domain.judging import Scene, judge, usable
from services.notifier.domain.known import Known
from services.notifier.domain.message import Draft, Saying, draft
from services.notifier.domain.owed import is_owed, still_owed
from services.notifier.domain.restoring import CLOCKS_APART, UNPROVEN, unproven
from services.notifier.domain.routing import Carried, Routing, countries_of
from services.notifier.domain.states import State
from services.notifier.domain.stock import Stock
from services.notifier.domain.switching import channels_at
from services.notifier.domain.verdicts import Fail, Send, Suppress, Verdict
from services.notifier.ledger import Ledger, counted
from services.notifier.metrics import NotifierMetrics
from services.notifier.rendering import Compiled, ContentError, Form, RenderError
from services.notifier.store import attempts, borrowers, contacts, deliveries, gates, known, starting
from services.notifier.store.attempts import Attempt, Closing
from services.notifier.store.borrowers import Who
from services.notifier.store.contacts import Contact
from services.notifier.store.queue import Key
from services.notifier.tables import SCHEMA
from services.notifier.texts import Shelf, Texts

GONE = "process_gone"
"""Why an attempt without a result is unknown: the process that made it ended first."""
TWICE = "attempt_stands"
"""Why a delivery is unknown that was about to be sent while an attempt on that channel was still open."""


class MovedError(Exception):
    """The database's timeline has changed since the sender last looked."""


class Marked(Value, frozen=True):
    """A delivery in flight: what to send, to whom (sealed), and through which provider."""

    delivery: Delivery
    send: Send
    text: Compiled
    form: Form
    draft: Draft
    provider: str
    key: str
    sealed_name: str | None
    attempt: Attempt
    """The attempt, as written before it starts."""

    @property
    def loans(self) -> tuple[str, ...]:
        """Return the debts that the message names."""
        return tuple(debt.loan_id for debt in self.send.debts)

    @property
    def ends_at(self) -> datetime:
        """Return the latest time it may be delivered: a provider that keeps trying for longer would deliver at a forbidden hour."""
        ends = self.delivery.request.expires_at
        return min(ends, self.send.decision.window_ends or ends)


@dataclass(frozen=True, slots=True)
class Claimed:
    """The outcome of one claim."""

    marked: tuple[Marked, ...] = ()
    handled: int = 0


@dataclass(frozen=True, slots=True)
class Doors:
    """What applies to all borrowers: watermarks, switch and routes, as of this transaction."""

    marks: Mapping[tuple[str, int], gates.Watermark]
    switches: Sequence[gates.Switch]
    routing: Routing

    def pipeline(self, who: Who, partitions: int, *, now: datetime, stale_after: timedelta) -> str | None:
        """Return why the facts about a borrower may not be fresh, or None; a watermark in the future proves nothing about now."""
        partition = partition_of(*who, partitions)
        facts, profiles = self.marks.get((FACTS.name, partition)), self.marks.get((PROFILES.name, partition))
        if facts is None or profiles is None or any(abs(now - mark.until) > stale_after for mark in (facts, profiles)):
            return "pipeline_stale"
        return "feed_stale" if who[0] in facts.stale_feeds or who[0] in profiles.stale_feeds else None

    def channels(self, tenant: str, contacts: str, request: ContactRequested, places: tuple[str, ...]) -> frozenset[str]:
        """Return the channels on which the switch has this effect on the contact; `*` means all."""
        if not self.switches:
            return frozenset()
        mine = (one.position for one in self.switches if one.tenant in {gates.EVERYWHERE, tenant})
        return channels_at(mine, contacts, request, places)


class Read(Value, frozen=True):
    """Everything one claim has read under its locks."""

    locked: Mapping[Who, borrowers.Borrower]
    facts: Mapping[Who, Known]
    places: Mapping[Task, tuple[str, ...]]
    """The jurisdictions of each delivery."""
    countries: Mapping[Task, frozenset[str]]
    """The countries of those jurisdictions."""
    doors: Doors
    shelf: Shelf
    ledger: Ledger
    stock: Stock
    failed: Mapping[tuple[str, str, str, str], str]
    """By tenant, borrower, task and channel: the provider that failed at the last attempt."""

    def carried(self, delivery: Delivery) -> Carried:
        """Return which channels are carried to a delivery's countries."""
        return self.doors.routing.carried(delivery.tenant, self.countries[delivery.key])


@dataclass(frozen=True, slots=True)
class Claimer:
    """Claims due deliveries, a batch at a time."""

    engine: AsyncEngine
    clock: Clock
    outbox: Outbox
    announcer: Announcer
    packs: Packs
    texts: Texts
    directory: Directory
    metrics: NotifierMetrics
    calendars: Calendars
    partitions: int
    stale_after: timedelta
    grace: timedelta
    resolve_within: timedelta
    group: str
    """The consumer group that reads the notifier's inputs; `places` is the number of partitions of all its topics."""
    places: int

    async def claim(self, keys: Sequence[Key], stock: Stock, *, timeline: int | None) -> Claimed:
        """Decide these deliveries and mark those that may go out, within the stock; MovedError when the database's timeline has changed."""
        async with self.engine.begin() as conn:
            await by_keys(conn)
            if await timeline_of(conn) != timeline:
                raise MovedError
            now = await self.clock.at(conn)
            locked = await borrowers.lock_free(conn, {key.who for key in keys})
            due = await deliveries.claim(conn, [key for key in keys if key.who in locked], now=now)
            marked = await self._decide(conn, due, locked, stock, now=now) if due else ()
        return Claimed(marked, len(due))

    async def _decide(
        self, conn: AsyncConnection, due: Sequence[Delivery], locked: Mapping[Who, borrowers.Borrower], stock: Stock, *, now: datetime
    ) -> tuple[Marked, ...]:
        if any(delivery.lost_time == UNPROVEN for delivery in due) and await self._has_read_the_lost_time(conn):
            due = [replace(delivery, lost_time=None) if delivery.lost_time == UNPROVEN else delivery for delivery in due]
        mine = {(delivery.tenant, delivery.borrower_id) for delivery in due}
        found = await known.known_of(conn, {who: locked[who] for who in sorted(mine)})
        routing = (await self.directory.routing(conn)).without(stock.shut)
        doors = Doors(await gates.watermarks(conn), await gates.switches(conn), routing)
        shelf = await self.texts.laid_out(conn, {(delivery.tenant, delivery.request.template) for delivery in due})
        facts = {who: replace(one, house=shelf.house(who[0])) for who, one in found.items()}
        places = {one.key: jurisdictions(one.request, facts[one.tenant, one.borrower_id]) for one in due}
        self.calendars.note({place for named in places.values() for place in named}, now)
        countries = {key: countries_of(named) for key, named in places.items()}
        failed = await attempts.failed_by(conn, [one.key for one in due if one.tries])
        read = Read(locked, facts, places, countries, doors, shelf, Ledger(), stock, failed)
        read = replace(read, ledger=await counted(conn, *self._counters(due, read, now=now), facts, now=now))
        now = await self.clock.at(conn)
        changes: list[Change] = []
        marked: list[Marked] = []
        for delivery in due:
            change, mark = self._one(delivery, read, now=now)
            changes.append(change)
            marked += [mark] if mark is not None else []
        return await self._write(conn, due, changes, marked, now=now)

    async def _has_read_the_lost_time(self, conn: AsyncConnection) -> bool:
        """Return whether everything on the bus when this epoch began has been read, for a second time if it was read before."""
        read_until = await positions.watermark(conn, SCHEMA, self.group, places=self.places)
        return read_until is not None and read_until >= (await gates.epoch(conn)).since + CLOCKS_APART

    def _one(self, delivery: Delivery, read: Read, *, now: datetime) -> tuple[Change, Marked | None]:
        """Decide one delivery; an error raised by a rule affects only this one."""
        if (change := self._by_time(delivery, now)) is not None:
            return change, None
        try:
            verdict = self._verdict(delivery, self._scene(delivery, read, now=now), now)
            mark = None
            if isinstance(verdict, Send):
                provider = self._provider(delivery, verdict.channel, read)
                if not read.stock.take((delivery.tenant, provider)):
                    return kept_waiting(delivery, read.stock.again_at((delivery.tenant, provider), delivery.task_id)), None
                mark = self._mark(delivery, verdict, read, provider)
        except Exception as error:  # noqa: BLE001  # an error in a rule or a template parks only its own delivery
            logs.get("notifier").warning("delivery_in_doubt", task_id=delivery.task_id, reason=_why(error))
            verdict, mark = Fail(error.word if isinstance(error, RenderError) else "in_doubt"), None
        if mark is None:
            return judged(delivery, verdict), None
        read.ledger.add(_contact(mark, now))
        return Change(mark.delivery), mark

    def _by_time(self, delivery: Delivery, now: datetime) -> Change | None:
        """Return what the passage of time makes of a delivery that is not waiting to be sent; None for one that is."""
        match delivery.state:
            case State.IN_FLIGHT:
                return unknown(delivery, GONE, now=now, resolve_by=now + self.resolve_within)
            case State.UNKNOWN:
                return unresolved(delivery)
            case State.SENT:
                return fallen_back(delivery, now=now)
            case State.PENDING if delivery.lost_time is not None:
                return unproven(delivery, now=now, resolve_by=now + self.resolve_within)
            case _:
                return None

    def _verdict(self, delivery: Delivery, scene: Scene, now: datetime) -> Verdict:
        verdict = judge(delivery, scene, now)
        if isinstance(verdict, Send) and scene.shadowed & {"*", verdict.channel}:
            return Suppress("shadow", (verdict.decision,))
        return verdict

    def _mark(self, delivery: Delivery, send: Send, read: Read, provider: str) -> Marked:
        """Return the delivery in flight with its text, which is judged here so that a forbidden one never starts."""
        who = (delivery.tenant, delivery.borrower_id)
        request, borrower = delivery.request, read.locked[who]
        if borrower.profile is None or borrower.key is None:
            raise RenderError("there is no key to open the address with")
        language, locale = read.facts[who].language, borrower.profile.locale
        text = read.shelf.find(delivery.tenant, request.template, send.channel, locale=locale, language=language)
        saying = Saying(
            read.shelf.lender(delivery.tenant), read.shelf.sums_in(delivery.tenant, text.ref, language, locale),
            plain=send.channel == "sms", reminder=request.purpose == "reminder", asks=send.asks,
            variables=request.variables, link=read.shelf.link(delivery.tenant, request, send.channel),
        )  # fmt: skip
        said = draft(send.debts, saying)
        form = text.checked(said, named=bool(borrower.profile.sealed_name))
        flying = judged(delivery, send).delivery
        attempt = Attempt(
            delivery.tenant, delivery.borrower_id, delivery.task_id, send.channel, flying.turn, provider, text.ref.locale, text.ref.version
        )  # fmt: skip
        return Marked(flying, send, text, form, said, provider, borrower.key, borrower.profile.sealed_name, attempt)

    def _provider(self, delivery: Delivery, channel: str, read: Read) -> str:
        """Return the provider: one that needs a probe, else one drawn by weight, preferably neither resting nor just failed."""
        tenant, key = delivery.tenant, delivery.key
        countries = read.countries[key]
        failed = read.failed.get((*key, channel))
        routing, probes = read.doors.routing, read.stock.probes(tenant)
        if (probe := routing.probed(tenant, channel, countries, probes - {failed})) is not None:
            return probe
        avoid = read.stock.slow(tenant) | {failed}
        chosen = routing.choose(tenant, channel, countries, tenant, delivery.task_id, delivery.turn + 1, avoid=avoid)
        if chosen is None and failed in probes:
            return failed
        if chosen is None:
            raise LookupError("there is no provider for this channel")
        return chosen.name

    def _scene(self, delivery: Delivery, read: Read, *, now: datetime) -> Scene:
        who = (delivery.tenant, delivery.borrower_id)
        doors, carried, countries, places = read.doors, read.carried(delivery), read.countries[delivery.key], read.places[delivery.key]
        return Scene(
            known=read.facts[who],
            places=places,
            pipeline=doors.pipeline(who, self.partitions, now=now, stale_after=self.stale_after),
            switched_off=doors.channels(delivery.tenant, "off", delivery.request, places),
            shadowed=doors.channels(delivery.tenant, "shadow", delivery.request, places),
            channels=carried.channels,
            resting=doors.routing.resting(delivery.tenant, countries, read.stock.probes(delivery.tenant)),
            down=carried.down,
            earlier=lambda lookup: read.ledger.earlier(who, lookup),
            packs=self.packs,
            dunned=read.ledger.dunned(who, delivery.task_id),
        )

    def _counters(
        self, due: Sequence[Delivery], read: Read, *, now: datetime
    ) -> tuple[set[tuple[str, str, str]], set[tuple[str, str]]]:  # fmt: skip
        """Return the rows of all counters to lock, and the addresses that some of them count by."""
        keys: set[tuple[str, str, str]] = set()
        lookups: set[tuple[str, str]] = set()
        for delivery in (one for one in due if one.state is State.PENDING):
            for asked, counter in self._counted(delivery, read, now):
                keys.add(contacts.row_of(delivery.tenant, delivery.borrower_id, counter))
                if counter.scope is CapScope.NUMBER:
                    lookups.add((delivery.tenant, asked.address.lookup))
        return keys, lookups

    def _counted(self, delivery: Delivery, read: Read, now: datetime) -> list[tuple[Asked, CapKey]]:
        known, places = read.facts[delivery.tenant, delivery.borrower_id], read.places[delivery.key]
        try:
            debts = still_owed(delivery.request, known.facts, now).debts
            channels = usable(delivery, known, debts, places=places, channels=read.carried(delivery).channels, packs=self.packs)
            return [(asked, counter) for asked in channels for counter in counters(asked, self.packs, now=now)]
        except Exception:  # noqa: BLE001  # the verdict on this delivery will hit the same error and park it
            return []

    async def _write(
        self, conn: AsyncConnection, due: Sequence[Delivery], changes: Sequence[Change], marked: Sequence[Marked], *, now: datetime
    ) -> tuple[Marked, ...]:
        """Write attempts, contacts and deliveries, and lastly the announcements."""
        begun = await attempts.begin(conn, [mark.attempt for mark in marked], now=now)
        before = {delivery.key: delivery for delivery in due}
        held_back = {mark.delivery.key for mark in marked} - begun
        until = now + self.resolve_within
        final = [
            unknown(before[key], TWICE, now=now, resolve_by=until) if (key := change.delivery.key) in held_back else change
            for change in changes
        ]
        started = tuple(_started(mark, now + self.grace) for mark in marked if mark.delivery.key in begun)
        await starting.start(conn, [(mark.delivery, _contact(mark, now)) for mark in started], now=now, until=now + self.grace)
        await deliveries.save(conn, [change.delivery for change in final if change.delivery.key not in begun])
        gone = [given_up(delivery, GONE) for delivery in due if delivery.state is State.IN_FLIGHT]
        await attempts.close(conn, gone + [given_up(before[key], TWICE) for key in sorted(held_back)], now=now)
        await self.outbox.append(conn, self.announcer.messages(final, now=now))
        self.metrics.on_claim(due, final, now)
        self._watch(started, now)
        return started

    def _watch(self, marked: Sequence[Marked], now: datetime) -> None:
        """Count contacts that name a debt known to be paid: there must be none."""
        for mark in marked:
            purpose = mark.delivery.request.purpose
            if purpose in {"dunning", "reminder"} and not all(is_owed(debt, purpose, now) for debt in mark.send.debts):
                self.metrics.aware_sends.inc()


def _why(error: Exception) -> str:
    """Return what a log may say about an error: what the content rules found, or else only its type."""
    if isinstance(error, ContentError):
        return "; ".join(f"{fault.kind} in {fault.part or 'text'}" for fault in error.faults)[:200]
    return type(error).__name__


def _started(mark: Marked, until: datetime) -> Marked:
    """Return it as written, with its grace period: without a result by then the attempt is due again, and becomes unknown."""
    return replace(mark, delivery=replace(mark.delivery, next_at=until, revision=mark.delivery.revision + 1))


def given_up(delivery: Delivery, why: str) -> Closing:
    """Return the closing of an attempt whose outcome is given up as unknown."""
    attempt = Attempt(delivery.tenant, delivery.borrower_id, delivery.task_id, delivery.channel or "", delivery.turn, "")
    return Closing(attempt, "unknown", code=why)


def _contact(mark: Marked, now: datetime) -> Contact:
    one, request = mark.delivery, mark.delivery.request
    return Contact(
        one.tenant, one.borrower_id, contacts.id_of(one.task_id, mark.send.channel), now, mark.send.channel, "",
        lookup=mark.send.address.lookup, kind=request.purpose, loans=mark.loans, task_id=one.task_id, case_id=request.case_id,
        decision=mark.send.decision,
    )  # fmt: skip
