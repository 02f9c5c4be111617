"""Receipts of the fakes: the fate of each message, posted a little later to where its provider would post it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from libs.common.calling import Answer
from libs.common.clock import pause
from services.notifier.providers.carrier import Carrier
from services.notifier.providers.fake.server import SPEAKERS, FakeProviders
from services.notifier.providers.fake.speaker import Taken, fate


@dataclass(slots=True)
class Reporter:
    """Posts receipts, and prints what it does."""

    fakes: FakeProviders
    say: Callable[[str], None]
    after_s: float = 1.0
    urls: Mapping[str, str] = field(default_factory=dict)
    """By account: where receipts go for messages that carry no callback URL."""
    _carrier: Carrier = field(default_factory=Carrier)
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)

    def on_taken(self, name: str, taken: Taken) -> None:
        """Print that a message was taken, and report on it later."""
        self.say(f"{name} took {taken.ref} to {taken.to}: {taken.body}")
        task = asyncio.create_task(self._report(name, taken))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        """Drop the reports not yet sent."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._carrier.close()

    async def _report(self, name: str, taken: Taken) -> None:
        await pause(asyncio.Event(), self.after_s)
        standing, account = fate(taken.to), self.fakes.accounts[name]
        if standing is None:
            return
        self.fakes.note(name, taken.ref, standing)
        speaker, url = SPEAKERS[account.kind], taken.callback or self.urls.get(name)
        report = speaker.report
        if report is None or url is None:
            self.say(
                f"{name} sends no receipt for {taken.ref}: {'its kind has no receipts here' if report is None else 'it has no URL for it'}"
            )
            return
        for part in speaker.parts(taken) if speaker.parts else (taken,):
            answer = await self._carrier.call(report(replace(part, callback=url), standing, account, self.fakes.clock.now()))
            said = answer.status if isinstance(answer, Answer) else answer.why
            self.say(f"{name} reported {standing.name.lower()} for {part.ref}: {said}")
