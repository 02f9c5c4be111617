"""The sender: claims what is due, sends it outside any transaction, and records what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from libs.common import logs, sealing
from libs.common.clock import pause, stopwatch
from libs.common.db import lineage
from libs.common.db.engine import timeline as timeline_of
from libs.common.db.failures import is_transient
from libs.common.sealing import Ring, SealError
from services.notifier.claiming import Claimed, Claimer, Marked, MovedError
from services.notifier.directory import Directory
from services.notifier.domain.health import Account
from services.notifier.domain.message import Making, OutgoingMessage, in_one_line
from services.notifier.domain.results import NO_PERMIT, Accepted, NotSent, Refused, Result, Unknown, in_kept_words
from services.notifier.domain.stock import Permit, Stock
from services.notifier.metrics import NotifierMetrics
from services.notifier.pacing import Flights, paced
from services.notifier.permitting import SOON_S, Till
from services.notifier.providers.port import Provider
from services.notifier.recording import Answered, Recorder
from services.notifier.rendering import RenderError
from services.notifier.store import gates
from services.notifier.store.queue import Key
from services.notifier.tables import SCHEMA
from services.notifier.tenant_turns import TenantTurns
from services.notifier.tending import Ward

PASS_EVERY_S = 1.0
"""Longest pause between passes, which find rows that were locked or written late."""
IN_THE_AIR = 2
"""Batches at once. A message is marked only if it can start right away, so at most one batch awaits answers beside the one just begun."""
APPS = frozenset({"push", "inbox"})
"""Channels of the wallet's app, which opens a link given beside the text."""
RECORD_TRIES = 20
RECORD_PAUSE_S = 0.5

Ready = tuple[Marked, OutgoingMessage]


@dataclass(frozen=True, slots=True)
class Given:
    """The results for messages given to one version of an account; None for a built-in provider or one that could not be opened."""

    account: Account
    version: int | None
    answered: Sequence[Answered]


@dataclass(slots=True)
class Sender:
    """One sender; any number of them may run side by side."""

    claimer: Claimer
    recorder: Recorder
    directory: Directory
    ring: Ring
    till: Till
    ward: Ward
    batch: int
    answer_within_s: float
    start_within_s: float
    metrics: NotifierMetrics
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    _pacing: set[asyncio.Task[None]] = field(default_factory=set)
    """Messages that start at the times of their permits, alongside the passes."""
    _short: bool = False
    """Whether something had to wait for a permit in the last pass."""
    _timeline: int | None = None
    """The database's timeline when last checked; None makes the next claim check it."""

    async def run(self, stop: asyncio.Event) -> None:
        """Send what is due until stopped."""
        try:
            while not stop.is_set():
                self.wake.clear()
                try:
                    await self.pass_once(stop)
                    self._reap()
                except Exception as error:
                    if not is_transient(error):
                        raise
                    logs.get("sender").warning("pass_failed", reason=type(error).__name__)
                    self._timeline = None
                self.recorder.outbox.wake.set()
                await pause(stop, SOON_S if self._short else PASS_EVERY_S, wake=self.wake)
        finally:
            await asyncio.gather(*self._pacing)

    async def drain(self) -> int:
        """Make passes until nothing is due, and return how many deliveries were handled."""
        total = 0
        while handled := await self.pass_once():
            total += handled
            await asyncio.gather(*self._pacing)
            self._reap()
        return total

    async def pass_once(self, stop: asyncio.Event | None = None) -> int:
        """Go once through everything due, tenant by tenant in turns, unless stopped; rate-limited messages continue alongside."""
        turns, flights = TenantTurns(self.claimer.engine, self.claimer.clock), Flights(IN_THE_AIR)
        self._short = False
        handled, contested = 0, False
        try:
            while keys := await turns.next(self.batch, contested=contested):
                await flights.room()
                if stop is not None and stop.is_set():
                    break
                began = stopwatch()
                stock = await self.till.stock(keys)
                start_by = stopwatch() + self.start_within_s
                claimed = await self._claim(keys, stock)
                await self.till.settle(stock, took_s=stopwatch() - began)
                handled += claimed.handled
                contested = not claimed.handled
                self._short = self._short or stock.waiting.total() > 0
                flights.begin(self._send(claimed.marked, stock, start_by=start_by))
        finally:
            await flights.landed()
        self.till.show()
        return handled

    async def _claim(self, keys: Sequence[Key], stock: Stock) -> Claimed:
        while True:
            try:
                return await self.claimer.claim(keys, stock, timeline=self._timeline)
            except MovedError:
                await self.settle_in()

    def _reap(self) -> None:
        """Remove finished sends that ran beside the passes; their errors are raised here."""
        done = {task for task in self._pacing if task.done()}
        self._pacing -= done
        for task in done:
            task.result()

    async def settle_in(self) -> None:
        """Learn the database's timeline; if it has changed, give up what may have gone out since then."""
        async with self.claimer.engine.begin() as conn:
            await lineage.check(conn, SCHEMA, now=await self.claimer.clock.at(conn))
            epoch = await gates.epoch(conn)
            timeline = await timeline_of(conn)
        await self.recorder.give_up(epoch)
        self._timeline = timeline

    async def went_back(self) -> None:
        """Begin a new epoch: the bus has seen a later time than this database has."""
        async with self.claimer.engine.begin() as conn:
            await lineage.raise_epoch(conn, SCHEMA, now=await self.claimer.clock.at(conn))
            epoch = await gates.epoch(conn)
        await self.recorder.give_up(epoch)

    async def _send(self, marked: Sequence[Marked], stock: Stock, *, start_by: float) -> None:
        """Send what is in flight, all providers at the same time, and record the results; a rate-limited one holds up no other."""
        by_provider: dict[Account, list[Marked]] = {}
        for mark in marked:
            by_provider.setdefault((mark.delivery.tenant, mark.provider), []).append(mark)
        for account in [account for account in by_provider if account in stock.permits]:
            group = by_provider.pop(account)
            self.till.in_flight[account] += len(group)
            self._pacing.add(asyncio.create_task(self._beside(account, group, stock.handed_out(account))))
        if by_provider:
            begun = (self._through(account, group, start_by) for account, group in by_provider.items())
            await self._finish(await asyncio.gather(*begun))

    async def _beside(self, account: Account, marked: Sequence[Marked], permits: Sequence[Permit]) -> None:
        try:
            given = await self._through(account, marked, permits)
            await self._finish([given])
        finally:
            self.till.in_flight[account] -= len(marked)
        if not all(isinstance(result, Accepted) for _, result in given.answered):
            self.wake.set()

    async def _finish(self, given: Sequence[Given]) -> None:
        """Record the results of these groups, and report them to the providers' health."""
        answered = [entry for group in given for entry in group.answered]
        await self._record(answered)
        for mark, result in answered:
            self.metrics.on_result(mark.provider, mark.send.channel, result)
        for group in given:
            await self.ward.hear(group.account, group.version, [result for _, result in group.answered])

    async def _through(self, account: Account, marked: Sequence[Marked], start: float | Sequence[Permit]) -> Given:
        """Return the results of a tenant's messages through one of its providers; one that is gone is given nothing.

        `start` says when: at the times of these permits, or at once and no later than this second of the stopwatch.
        """
        try:
            provider = await self.directory.provider(*account)
        except Exception as error:  # noqa: BLE001  # whatever stood in the way, nothing has been given to anybody yet
            logs.get("sender").warning("provider_not_opened", tenant=account[0], provider=account[1], reason=type(error).__name__)
            provider = None
        if provider is None:
            return Given(account, None, [(mark, NotSent("provider_gone")) for mark in marked])
        version = self.directory.version(*account)
        return Given(account, version, await self._deliver(provider, marked, start))

    async def _deliver(self, provider: Provider, marked: Sequence[Marked], start: float | Sequence[Permit]) -> list[Answered]:
        """Return the result of each: any error after the provider was called leaves all of them unknown."""
        answered: list[Answered] = []
        ready: list[tuple[Marked, OutgoingMessage]] = []
        for mark in marked:
            made = self._message(mark)
            if isinstance(made, OutgoingMessage):
                ready.append((mark, made))
            else:
                answered.append((mark, made))
        if not isinstance(start, float):
            answered += await self._paced(provider, ready, start)
        elif stopwatch() > start:
            answered += [(mark, NotSent(NO_PERMIT)) for mark, _ in ready]
        elif ready:
            results = await self._call(provider, [self._starting(message, start) for _, message in ready])
            answered += zip((mark for mark, _ in ready), results, strict=True)
        return answered

    async def _paced(self, provider: Provider, ready: Sequence[Ready], permits: Sequence[Permit]) -> list[Answered]:
        """Return the result of each, started at the time of a permit; a message left without one in time is not sent."""

        async def start(one: Ready, permit: Permit) -> Result:
            if stopwatch() > permit.until:
                return NotSent(NO_PERMIT)
            return (await self._call(provider, [self._starting(one[1], permit.until)]))[0]

        started, late = await paced(ready, permits, start)
        return [(one[0], result) for one, result in started] + [(one[0], NotSent(NO_PERMIT)) for one in late]

    async def _call(self, provider: Provider, messages: Sequence[OutgoingMessage]) -> list[Result]:
        began = stopwatch()
        try:
            async with asyncio.timeout(self.answer_within_s):
                results = await provider.deliver(messages)
        except Exception as error:  # noqa: BLE001  # whatever was raised, after the call nobody can say what went out
            logs.get("sender").warning("provider_failed", provider=provider.name, reason=type(error).__name__)
            return [Unknown(type(error).__name__)] * len(messages)
        finally:
            self.metrics.provider_seconds.labels(self.metrics.named(provider.name)).observe(stopwatch() - began)
        return [*map(in_kept_words, results)] if len(results) == len(messages) else [Unknown("answers_missing")] * len(messages)

    def _starting(self, message: OutgoingMessage, by: float) -> OutgoingMessage:
        """Return a message that must start by this second of the stopwatch, or by its own deadline if that comes first."""
        if message.deadline is not None:
            by = min(by, stopwatch() + (message.deadline - self.claimer.clock.now()).total_seconds())
        return replace(message, start_by=by)

    def _message(self, mark: Marked) -> OutgoingMessage | Refused:
        """Open address and name and finish the text; what cannot be opened is refused before anyone is called."""
        one = mark.delivery
        context = f"{one.tenant}/{one.borrower_id}"
        try:
            holder = self.ring.holder(mark.key, context)
            to = holder.unseal(sealing.from_text(mark.send.address.sealed), f"{context}/address").decode()
            name = in_one_line(holder.unseal(sealing.from_text(mark.sealed_name), f"{context}/name").decode() if mark.sealed_name else None)
            text = mark.text.finished(mark.form, mark.draft, name=name)
        except (SealError, ValueError):
            return Refused("address_unreadable", "config")
        except RenderError:
            return Refused("in_doubt", "content")
        return OutgoingMessage(
            id=mark.attempt.message_id, tenant=one.tenant, task_id=one.task_id,
            borrower_id=one.borrower_id, channel=mark.send.channel, to=to, subject=text.subject, body=text.body,
            html=text.html, deadline=mark.ends_at, making=Making(mark.text.ref, mark.draft, name),
            link=mark.draft.link if mark.send.channel in APPS else None,
            unsubscribe=self.directory.unsubscribe_url(one.tenant, one.borrower_id, one.task_id) if mark.send.channel == "email" else None,
        )  # fmt: skip

    async def _record(self, answered: Sequence[Answered]) -> None:
        """Record results, trying again while the database is down: a lost result makes a contact unknown."""
        for left in reversed(range(RECORD_TRIES)):
            try:
                await self.recorder.record(answered)
            except Exception as error:
                if left == 0 or not is_transient(error):
                    raise
                await pause(asyncio.Event(), RECORD_PAUSE_S)
            else:
                self.recorder.outbox.wake.set()
                return
