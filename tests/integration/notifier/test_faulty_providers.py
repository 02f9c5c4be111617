"""Providers that fail for one message, or altogether: nothing is swallowed, nobody is forgotten, nothing is done twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from hashlib import shake_256

import pytest

from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.receipts import Receipt, Standing
from services.notifier.domain.results import Accepted, Refused, Result
from services.notifier.receiving import words_of
from services.notifier.service import Options
from services.notifier.store import receipts
from tests.integration.notifier.world import TENANT, World, a_world
from tests.support.postgres import Databases

BEFORE_ALL = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=23)))
"""A time outside the range of UTC dates."""


@dataclass
class Faulty:
    """A provider that takes every message and answers as it is told."""

    answers: Callable[[Sequence[OutgoingMessage]], list[Result]]
    name: str = "sandbox"
    channels: tuple[str, ...] = ("sms",)
    sandbox: bool = True
    given: list[str] = field(default_factory=list)

    async def deliver(self, batch: Sequence[OutgoingMessage]) -> list[Result]:
        self.given += [message.borrower_id for message in batch]
        return self.answers(batch)


def raising(_: Sequence[OutgoingMessage]) -> list[Result]:
    raise RuntimeError


def one_short(batch: Sequence[OutgoingMessage]) -> list[Result]:
    return [Accepted(message.id) for message in batch[1:]]


async def three_late(world: World, **addresses: dict[str, str]) -> None:
    for borrower in ("a", "b", "c"):
        await world.late_borrower(borrower, addresses=addresses.get(borrower))
        await world.request(borrower, channels=("sms",))


@pytest.mark.parametrize("answers", [raising, one_short])
async def test_whatever_a_provider_raises_or_leaves_unsaid_makes_its_messages_unknown_and_never_done(
    databases: Databases, answers: Callable[[Sequence[OutgoingMessage]], list[Result]]
) -> None:
    async with a_world(databases) as world:
        await three_late(world)
        provider = Faulty(answers)
        sender = world.another(Options(providers=[provider]))
        for _ in range(3):
            await sender.pump()
            world.clock.advance(timedelta(minutes=10))
            await world.fresh_watermarks()
        assert sorted(provider.given) == ["a", "b", "c"]
        found = [await world.delivery(borrower) for borrower in ("a", "b", "c")]
        assert [(one["state"], one["attempts"][0]["result"]) for one in found] == [("unknown", "unknown")] * 3


@pytest.mark.parametrize("name", ["\0", shake_256(b"name").hexdigest(4000)], ids=["nothing", "too long"])
async def test_a_name_that_no_table_takes_ends_nothing_but_is_cut(databases: Databases, name: str) -> None:
    async with a_world(databases) as world:
        await three_late(world)
        answers: list[Result] = [Accepted(name), Refused(name, "content"), Accepted(name, parts=(name, "b"))]
        await world.another(Options(providers=[Faulty(lambda _: answers)])).pump()
        states = [(await world.delivery(borrower))["state"] for borrower in ("a", "b", "c")]
        assert sorted(states) == ["failed", "sent", "sent"]
        [word] = words_of([Receipt(Standing.FAILED, message_id=name, provider_ref=name, code=name, event_id=name, at=BEFORE_ALL)])
        async with world.engine.begin() as conn:
            assert len(await receipts.keep(conn, TENANT, "sandbox", [word], sealed=None, now=world.clock.now())) == 1


@pytest.mark.parametrize("failing", ["a", "b", "c"])
async def test_what_failed_among_others_that_went_out_is_tried_again_and_they_are_not(databases: Databases, failing: str) -> None:
    async with a_world(databases) as world:
        await three_late(world, **{failing: {"sms": "notsent"}})
        await world.service.pump()
        others = sorted({"a", "b", "c"} - {failing})
        assert sorted(one["borrower_id"] for one in await world.messages()) == others
        await world.profile(failing)
        await world.pass_to(world.clock.now() + timedelta(minutes=1))
        assert sorted(one["borrower_id"] for one in await world.messages()) == ["a", "b", "c"]


@pytest.mark.parametrize("age", [timedelta(minutes=5), timedelta(days=1, seconds=1), timedelta(days=7, seconds=1)])
async def test_a_watermark_of_another_day_is_old_however_its_time_of_day_looks(databases: Databases, age: timedelta) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("a")
        world.clock.advance(age)
        await world.request("a")
        await world.service.pump()
        assert await world.messages() == []
        assert (await world.delivery("a"))["reason"] == "pipeline_stale"
