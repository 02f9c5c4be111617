"""What people do about cases, over HTTP."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from tests.integration.scheduler.world import TODAY, World, late


async def post(world: World, path: str, body: Any = None, *, status: int = 201, key: str | None = None, **headers: str) -> Any:
    """The answer to a write."""
    named = {"Idempotency-Key": key} if key else {}
    answered = await world.http.post(f"/v1{path}", json=body, headers={**named, **headers})
    assert answered.status_code == status, answered.text
    return answered.json()


async def case_of(world: World, borrower_id: str = "B1") -> str:
    """A borrower's case."""
    return str((await world.case(borrower_id))["case_id"])


async def settled(world: World, *facts: Any) -> str:
    """The case of these facts (by default one overdue debt), with its first message requested."""
    await world.tell(*(facts or (late(received=0),)))
    await world.settle()
    return await case_of(world)


async def promise(world: World, amount: int = 12050, *, in_days: int = 3, status: int = 201, **other: Any) -> Any:
    """A borrower's promise of an amount within a number of days."""
    body = {"amount": amount, "due_on": day(in_days), **other}
    return await post(world, f"/cases/{await case_of(world)}/promises", body, status=status)


def day(in_days: int) -> str:
    """The date this many days after the first day of these tests."""
    return date.isoformat(TODAY + timedelta(days=in_days))


async def tasks(world: World, **wanted: Any) -> list[Any]:
    """Work for people."""
    return list((await world.get("/tasks", **wanted))["items"])
