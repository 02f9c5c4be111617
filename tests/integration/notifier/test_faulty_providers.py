"""Providers that fail in one message, or altogether: nothing is swallowed, nobody is left behind, nothing is done twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.results import Accepted, Result
from services.notifier.service import Options
from tests.integration.notifier.world import World, a_world
from tests.support.postgres import Databases


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
