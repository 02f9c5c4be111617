"""Asks providers about messages whose outcome is unknown: a few times, at growing intervals, holding no lock."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common import logs, sealing
from libs.common.db.failures import is_transient
from libs.common.repeating import repeat
from libs.common.sealing import SealError
from services.notifier.domain.asking import NEVER_TAKEN, PAUSES, Question, meaning
from services.notifier.domain.delivery import heard
from services.notifier.domain.receipts import News, Receipt, Standing
from services.notifier.domain.results import NotSent
from services.notifier.metrics import NotifierMetrics
from services.notifier.providers.kinds import ADAPTERS
from services.notifier.providers.port import Askable
from services.notifier.receiving import Receiver
from services.notifier.store import asking, attempts, borrowers, contacts, deliveries, freeing
from services.notifier.store.asking import Lost
from services.notifier.store.attempts import Closing
from services.notifier.unreported import Querier

LOOK_EVERY_S = 5.0
AT_ONCE = 10
"""Questions per round, asked concurrently: an outage leaves many, and they are worked off this slowly."""
LOOKS_BACK = PAUSES[-1] * 2
KINDS = tuple(kind for kind, adapter in ADAPTERS.items() if adapter.look_up is not None)


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks about attempts whose answers were lost, and records what it learns like a receipt."""

    receiver: Receiver
    metrics: NotifierMetrics
    querier: Querier

    async def run(self, stop: asyncio.Event) -> None:
        """Ask until stopped."""

        async def step() -> bool:
            return await self.look() >= AT_ONCE

        await repeat(step, stop, every_s=LOOK_EVERY_S, worker="notifier/asker")

    async def drain(self) -> int:
        """Ask everything that is due now; return the number of questions."""
        total = 0
        while asked := await self.look():
            total += asked
        return total

    async def look(self) -> int:
        """Ask one round of due questions; return how many there were."""
        async with self.receiver.engine.begin() as conn:
            now = await self.receiver.clock.at(conn)
            lost = await asking.claim(conn, KINDS, PAUSES, since=now - LOOKS_BACK, now=now, limit=AT_ONCE)
        await asyncio.gather(*(self._ask_alone(one, now) for one in lost))
        return len(lost) + await self.querier.look()

    async def _ask_alone(self, lost: Lost, now: datetime) -> None:
        """Ask about one message; an error raised by a rule affects only this question."""
        try:
            await self._ask(lost, now)
        except Exception as error:
            if is_transient(error):
                raise
            logs.get("asker").warning(
                "question_in_doubt", tenant=lost.attempt.tenant, task_id=lost.attempt.task_id, reason=type(error).__name__
            )

    async def _ask(self, lost: Lost, now: datetime) -> None:
        provider = await self.receiver.directory.provider(lost.attempt.tenant, lost.attempt.provider)
        question = await self._question(lost)
        if not isinstance(provider, Askable) or question is None:
            return
        search = await provider.look_up(question)
        if search is None:
            self.metrics.asked.labels(self.metrics.named(lost.attempt.provider), "no_answer").inc()
            return
        refs = {one.provider_ref for one in search.found if one.provider_ref is not None}
        async with self.receiver.engine.connect() as conn:
            of_others = await asking.named(conn, lost.attempt.tenant, lost.attempt.provider, refs)
            alone = not await asking.others_lost(conn, lost, since=question.since, until=question.until)
        said = meaning(search, question, of_others, alone=alone, absence_counts=_absence_counts(lost, provider, now))
        self.metrics.asked.labels(self.metrics.named(lost.attempt.provider), _word(said)).inc()
        match said:
            case Receipt():
                await self._found(lost, said)
            case NotSent(why):
                await self._never_taken(lost, why)

    async def _question(self, lost: Lost) -> Question | None:
        """Return the question; None when the address is no longer known."""
        one = lost.attempt
        async with self.receiver.engine.connect() as conn:
            borrower = await borrowers.find(conn, one.tenant, one.borrower_id)
        if borrower is None or borrower.profile is None or borrower.key is None:
            return None
        sealed = next((a.sealed for a in borrower.profile.addresses if a.channel == one.channel and a.lookup == lost.lookup), None)
        if sealed is None:
            return None
        context = f"{one.tenant}/{one.borrower_id}"
        try:
            holder = self.receiver.directory.ring.holder(borrower.key, context)
            to = holder.unseal(sealing.from_text(sealed), f"{context}/address").decode()
        except (SealError, ValueError):
            return None
        return Question(lost.message_id, to, lost.began_at, lost.ended_at, lost.asked)

    async def _found(self, lost: Lost, said: Receipt) -> None:
        """Record what was found as a receipt of the message."""
        of, word = lost.attempt, Receipt(
            said.standing, message_id=lost.message_id, provider_ref=said.provider_ref, at=said.at, code=said.code, fault=said.fault
        )  # fmt: skip
        await self.receiver.keep_answer(of.tenant, of.provider, word)

    async def _never_taken(self, lost: Lost, why: str) -> None:
        """Close the attempt as never sent: it counts towards no cap."""
        of = lost.attempt
        receiver = self.receiver
        async with receiver.engine.begin() as conn:
            waits = await freeing.who_waits(conn, [(of.key[:2], contacts.id_of(of.task_id, of.channel))])
            await borrowers.lock(conn, waits)
            if not await asking.is_lost(conn, of):
                return
            await self._close(conn, lost, why)
            await deliveries.wake(conn, waits, now=await receiver.clock.at(conn))
        receiver.outbox.wake.set()

    async def _close(self, conn: AsyncConnection, lost: Lost, why: str) -> None:
        of, receiver = lost.attempt, self.receiver
        now = await receiver.clock.at(conn)
        before = (await attempts.reached(conn, [of.key]))[of.key]
        news = News(of.channel, Standing.FAILED, tuple(before), of.provider, code=why)
        changes = [heard(delivery, news, now=now) for delivery in await deliveries.locked(conn, [of.key])]
        await deliveries.save(conn, [change.delivery for change in changes])
        await attempts.close(conn, [Closing(of, "not_sent", code=why)], now=now)
        await contacts.note_results(conn, [(of.key[:2], contacts.id_of(of.task_id, of.channel), "not_sent")])
        await receiver.outbox.append(conn, receiver.announcer.messages(changes, now=now))


def _absence_counts(lost: Lost, provider: Askable, now: datetime) -> bool:
    """Return whether "not found" proves anything: only long after the attempt, and only if the account has not changed since."""
    after = provider.absent_after
    return after is not None and lost.same_account and now >= lost.ended_at + after


def _word(said: Receipt | NotSent | None) -> str:
    return "unclear" if said is None else NEVER_TAKEN if isinstance(said, NotSent) else "found"
