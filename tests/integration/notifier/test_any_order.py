"""The same messages in the order of a bad day: late, duplicated, topics overtaking each other."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from libs.common.bus.inprocess import InProcessBus
from libs.common.clock import DrivenClock
from libs.common.contracts.contact_tasks import DebtRef
from libs.common.lifecycle import Service
from libs.common.ports import Ports
from services.notifier.service import build
from services.notifier.settings import Settings
from tests.integration.notifier.world import DIGEST_KEY, MORNING, PRIVATE, World, a_keyed_database, loan_of
from tests.support.postgres import Databases

ROUNDS = 400


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_the_order_each_contact_goes_out_once_and_none_after_its_payment(databases: Databases, seed: int) -> None:
    async with a_keyed_database(databases) as engine:
        clock = DrivenClock(MORNING)
        bus = InProcessBus(clock=clock, seed=seed)
        settings = Settings(sealing_private=PRIVATE, digest_key=DIGEST_KEY)
        world = World(engine, bus, clock, build(Ports(engine, bus, clock, "test"), settings), settings)
        await world.service.start()
        await world.fresh_watermarks()
        await _tell(world)
        chance = random.Random(seed)  # reproducible, not secret
        for _ in range(ROUNDS):
            moved = await bus.step()
            if chance.random() < 0.2:
                await world.service.pump()
            if not moved:
                break
        await _settle(world, world.service)
        for number in range(4):
            assert len(await world.messages(f"late-{number}")) == 1
            assert await world.messages(f"cancelled-{number}") == []
            assert await world.messages(f"paid-{number}") == []


async def _tell(world: World) -> None:
    """Publish everything in an order that is valid within each topic; requests about paid loans name the newer fact."""
    for number in range(4):
        for kind in ("late", "cancelled", "paid"):
            borrower = f"{kind}-{number}"
            if kind == "cancelled":
                await world.cancel(borrower)
            wanted = DebtRef(loan_id=loan_of(borrower), fact_epoch=1, fact_version=2 if kind == "paid" else 1)
            await world.request(borrower, debts=(wanted,))
            await world.late_borrower(borrower)
            if kind == "paid":
                await world.fact(borrower, overdue=0, version=2)


async def _settle(world: World, service: Service) -> None:
    """Let everything waiting be delivered and everything due be done."""
    while await world.bus.step():
        pass
    world.clock.advance(timedelta(seconds=30))
    await world.fresh_watermarks()
    while await world.bus.step():
        pass
    await service.pump()
