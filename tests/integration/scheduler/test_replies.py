"""Replies to a contact: recorded in its case, and work for a person if no rule can answer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.integration.scheduler.test_outcomes import asked
from tests.integration.scheduler.world import World


async def tasks(world: World) -> list[tuple[str, str]]:
    return [(task["kind"], task["state"]) for task in (await world.get("/tasks"))["items"]]


@pytest.mark.parametrize(
    ("kind", "reason", "work"),
    [
        ("replied", "unclear", ["reply"]),
        ("replied", "help", ["reply"]),
        ("replied", None, []),
        ("opted_out", "stop", []),
        ("suppressed", "complaint", ["complaint"]),
        ("suppressed", "in_doubt", ["reply"]),
        ("suppressed", "paid", []),
    ],
)
async def test_a_reply_stands_in_the_story_and_makes_work_where_a_person_is_needed(
    world: World, kind: str, reason: str | None, work: list[str]
) -> None:
    task = await asked(world)
    await world.outcome(task, "sent", 1, channel="sms")
    for sequence in (2, 3):
        await world.outcome(task, kind, sequence, channel="sms", reason=reason)
    assert [(one["kind"], one["reason"]) for one in await world.story() if one["kind"] == f"contact.{kind}"] == [
        (f"contact.{kind}", reason)
    ] * 2
    assert await tasks(world) == [(one, "open") for one in work]


async def test_a_reply_says_nothing_of_how_far_its_contact_came(world: World) -> None:
    task = await asked(world)
    until = world.clock.now() + timedelta(hours=24)
    await world.outcome(task, "unknown", 1, channel="sms", reason="process_gone", until=until)
    await world.outcome(task, "replied", 2, channel="sms", reason="stop")
    statement = "select state, sequence, reason, until from scheduler.case_steps"
    rows: list[Any] = [tuple(row) for row in await world.rows(statement)]
    assert rows == [("unknown", 2, "process_gone", until)]
