"""A contact that does not arrive moves to its next channel and, when none is left, to a person."""

from __future__ import annotations

from datetime import timedelta

from tests.e2e.world import MORNING, World, late_loan
from tests.support.wallet import Event, event


def reached_by(borrower_id: str, **addresses: str) -> Event:
    """Return a borrower with these addresses, in the order of the policy's channels."""
    return event(
        "borrower.updated", recorded=MORNING - timedelta(days=9), borrower_id=borrower_id, locale="en", timezone="Etc/GMT",
        jurisdictions=["ZZ"], addresses=[{"channel": channel, "address": address} for channel, address in addresses.items()],
    )  # fmt: skip


async def test_a_refused_channel_is_followed_by_the_next_and_the_last_one_by_a_person(world: World) -> None:
    await world.publish(
        reached_by("B1", email="refuse@example.org", push="token"), late_loan("L1", "B1"),
        reached_by("B2", email="refuse@example.org"), late_loan("L2", "B2"),
    )  # fmt: skip
    await world.let_pass(minutes=5)
    assert [(message["borrower_id"], message["channel"]) for message in await world.messages()] == [("B1", "push")]
    [task] = (await world.get("/scheduler/v1/tasks"))["items"]
    assert (task["borrower_id"], task["kind"], task["state"]) == ("B2", "contact_failed", "open")
    coverage = await world.get("/scheduler/v1/coverage", whole="true")
    assert (coverage["uncontacted"], coverage["items"]) == (0, [])
