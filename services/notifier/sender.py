"""The sender: claims what is due, sends it outside any transaction, writes down what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from libs.common import logs, sealing
from libs.common.clock import pause, stopwatch
from libs.common.db import lineage
from libs.common.db.engine import timeline as timeline_of
from libs.common.db.failures import is_transient
from libs.common.sealing import Ring, SealError
from services.notifier.claiming import Claimer, Marked, MovedError
from services.notifier.directory import Directory
from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.results import NotSent, Refused, Result, Unknown
from services.notifier.metrics import NotifierMetrics
from services.notifier.providers.port import Provider
from services.notifier.recording import Answered, Recorder
from services.notifier.rendering import RenderError
from services.notifier.store import gates
from services.notifier.store.deliveries import Key
from services.notifier.tables import SCHEMA

PASS_EVERY_S = 1.0
"""The next pass begins at most so long after the last: rows that were locked or written late are found by it."""
RECORD_TRIES = 20
RECORD_PAUSE_S = 0.5


@dataclass(slots=True)
class Sender:
    """One sender; any number of them may work side by side."""

    claimer: Claimer
    recorder: Recorder
    directory: Directory
    ring: Ring
    batch: int
    answer_within_s: float
    metrics: NotifierMetrics
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    _timeline: int | None = None
    """The one that the database was last seen on; None makes the next claim look where it is."""

    async def run(self, stop: asyncio.Event) -> None:
        """Send what is due until the stop."""
        while not stop.is_set():
            self.wake.clear()
            try:
                await self.pass_once()
            except Exception as error:
                if not is_transient(error):
                    raise
                logs.get("sender").warning("pass_failed", reason=type(error).__name__)
                self._timeline = None
            self.recorder.outbox.wake.set()
            await pause(stop, PASS_EVERY_S, wake=self.wake)

    async def drain(self) -> int:
        """Make passes until nothing is due, and return how many deliveries were in hand."""
        total = 0
        while handled := await self.pass_once():
            total += handled
        return total

    async def pass_once(self) -> int:
        """Go once through everything that is due: from no bound to the last key, and start anew next time."""
        after: Key | None = None
        handled = 0
        while True:
            try:
                claimed = await self.claimer.claim(after=after, limit=self.batch, timeline=self._timeline)
            except MovedError:
                await self.settle_in()
                continue
            if claimed.last is None:
                return handled
            handled += claimed.handled
            after = claimed.last
            await self._send(claimed.marked)

    async def settle_in(self) -> None:
        """Learn where the database is; where it is another one than before, what may have gone out since then is given up."""
        async with self.claimer.engine.begin() as conn:
            await lineage.check(conn, SCHEMA, now=await self.claimer.clock.at(conn))
            epoch = await gates.epoch(conn)
            timeline = await timeline_of(conn)
        await self.recorder.give_up(epoch)
        self._timeline = timeline

    async def went_back(self) -> None:
        """Begin a new epoch: the bus knows of a later moment than this database."""
        async with self.claimer.engine.begin() as conn:
            await lineage.raise_epoch(conn, SCHEMA, now=await self.claimer.clock.at(conn))
            epoch = await gates.epoch(conn)
        await self.recorder.give_up(epoch)

    async def _send(self, marked: Sequence[Marked]) -> None:
        """Send what is in flight, all providers at the same time, and record the results."""
        if not marked:
            return
        by_provider: dict[tuple[str, str], list[Marked]] = {}
        for mark in marked:
            by_provider.setdefault((mark.delivery.tenant, mark.provider), []).append(mark)
        answers = await asyncio.gather(*(self._through(*whose, group) for whose, group in by_provider.items()))
        answered = [entry for group in answers for entry in group]
        await self._record(answered)
        for mark, result in answered:
            self.metrics.on_result(mark.provider, mark.send.channel, result)

    async def _through(self, tenant: str, name: str, marked: Sequence[Marked]) -> list[Answered]:
        """Return the result of each message of a tenant through one of its providers; one that is gone was given nothing."""
        try:
            provider = await self.directory.provider(tenant, name)
        except Exception as error:  # noqa: BLE001  # nothing was given to anybody yet, whatever stood in the way
            logs.get("sender").warning("provider_not_opened", provider=name, reason=type(error).__name__)
            provider = None
        return [(mark, NotSent("provider_gone")) for mark in marked] if provider is None else await self._deliver(provider, marked)

    async def _deliver(self, provider: Provider, marked: Sequence[Marked]) -> list[Answered]:
        """Return the result of each: whatever goes wrong once the provider was called leaves all of them unknown."""
        answered: list[Answered] = []
        ready: list[tuple[Marked, OutgoingMessage]] = []
        for mark in marked:
            made = self._message(mark)
            if isinstance(made, OutgoingMessage):
                ready.append((mark, made))
            else:
                answered.append((mark, made))
        if ready:
            results = await self._call(provider, [message for _, message in ready])
            answered += zip((mark for mark, _ in ready), results, strict=True)
        return answered

    async def _call(self, provider: Provider, messages: Sequence[OutgoingMessage]) -> list[Result]:
        began = stopwatch()
        try:
            async with asyncio.timeout(self.answer_within_s):
                results = await provider.deliver(messages)
        except Exception as error:  # noqa: BLE001  # after the call nobody can say what went out, whatever was raised
            logs.get("sender").warning("provider_failed", provider=provider.name, reason=type(error).__name__)
            return [Unknown(type(error).__name__)] * len(messages)
        finally:
            self.metrics.provider_seconds.labels(provider.name).observe(stopwatch() - began)
        return results if len(results) == len(messages) else [Unknown("answers_missing")] * len(messages)

    def _message(self, mark: Marked) -> OutgoingMessage | Refused:
        """Open the address and the name and write the text; what cannot be opened is refused before anyone is called."""
        one = mark.delivery
        context = f"{one.tenant}/{one.borrower_id}"
        try:
            key = self.ring.unseal(sealing.from_text(mark.key), f"{context}/key")
            to = sealing.unseal(sealing.from_text(mark.send.address.sealed), key, f"{context}/address").decode()
            name = sealing.unseal(sealing.from_text(mark.sealed_name), key, f"{context}/name").decode() if mark.sealed_name else None
            text = mark.text.render(mark.draft, name=name)
        except (SealError, ValueError):
            return Refused("address_unreadable", "config")
        except RenderError:
            return Refused("in_doubt", "content")
        return OutgoingMessage(
            id=mark.attempt.message_id, tenant=one.tenant, task_id=one.task_id,
            borrower_id=one.borrower_id, channel=mark.send.channel, to=to, subject=text.subject, body=text.body,
            html=text.html, deadline=one.request.expires_at,
            unsubscribe=self.directory.unsubscribe_url(one.tenant, one.borrower_id, one.task_id) if mark.send.channel == "email" else None,
        )  # fmt: skip

    async def _record(self, answered: Sequence[Answered]) -> None:
        """Write results down, again while the database is away: a result that is lost makes a contact unknown."""
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
