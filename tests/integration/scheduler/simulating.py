"""Simulations as a person requests them, run within the test."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import Clock
from libs.common.contracts.borrower_profiles import BorrowerProfile, ConsentState, SealedAddress
from libs.common.contracts.catalogue import PROFILES
from services.scheduler.simulator import Simulator
from tests.integration.scheduler.world import World

AGREED = ("sms", "email")


def simulator(engine: AsyncEngine, clock: Clock, *, processes: int = 0, borrowers: int = 250) -> Simulator:
    return Simulator(engine, clock, timedelta(seconds=2), processes, borrowers)


async def introduce(world: World, borrower_id: str = "B1", *, consents: tuple[str, ...] = AGREED, at: datetime | None = None) -> None:
    """Publish a borrower who can be reached by SMS and e-mail."""
    moment = at or world.clock.now()
    addresses = tuple(SealedAddress(channel=channel, sealed="s", lookup=f"{channel}-{borrower_id}") for channel in AGREED)  # type: ignore[arg-type]
    profile = BorrowerProfile(borrower_id=borrower_id, time=moment, id=f"p-{borrower_id}", key="k", addresses=addresses)
    said = [world.message("borrower.profile.v1", profile, topic=PROFILES)]
    for channel in consents:
        consent = ConsentState(
            borrower_id=borrower_id, time=moment, id=f"c-{borrower_id}-{channel}", channel=channel, purpose="dunning", granted=True,  # type: ignore[arg-type]
            at=moment,
        )  # fmt: skip
        said.append(world.message("borrower.consent.v1", consent, topic=PROFILES))
    await world.bus.publish(said)


async def ask(world: World, **asked: Any) -> Any:
    answered = await world.http.post("/v1/simulations", json={"mode": "forward", "days": 30, **asked})
    assert answered.status_code == 202, answered.text
    return answered.json()


async def simulated(world: World, *, processes: int = 0, borrowers: int = 250, **asked: Any) -> Any:
    """Request a simulation, run it, and return it as it ended."""
    made = await ask(world, **asked)
    assert await simulator(world.engine, world.clock, processes=processes, borrowers=borrowers).run_one(asyncio.Event())
    return await world.get(f"/simulations/{made['simulation_id']}")
