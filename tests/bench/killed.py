"""The notifier's process is killed when half of the contacts are out, and restarted: nothing lost, nothing sent twice."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from sqlalchemy import text

from services.notifier.sender import IN_THE_AIR
from services.notifier.settings import Settings
from tests.bench import contacts, side_by_side, wire
from tests.bench.contacts import World
from tests.bench.ingest import require
from tests.bench.measuring import WITHIN_S, WorkerProcess, enough
from tests.bench.stack import Stack
from tests.bench.wire import Provider
from tests.support.running import until

LATER_S = 120
"""How much later the process is restarted: by then, the grace period of what was in flight is over."""
_STATES = text("select state, count(*) from notifier.deliveries group by 1")


async def run(stack: Stack, count: int, rounds: int) -> list[str]:
    """Kill it once in each round, and return the outcome."""
    return [await _round(stack, count) for _ in range(rounds)]


async def _round(stack: Stack, count: int) -> str:
    with wire.provider() as there:
        async with stack.database("notifier") as url, contacts.world(url, place="CN", fakes=True) as world:
            await wire.through(world, there.account, "sms")
            await contacts.fill(world, count)
            at_the_kill = await _killed_at_half(world, url, there, count)
            world.clock.advance(timedelta(seconds=LATER_S))
            await world.fresh_watermarks()
            await _sent(world, url, LATER_S)
            states = await _states(world)
            texts, numbers = there.took()
    require("contacts that are neither sent nor known to be unknown", count - states.get("sent", 0) - states.get("unknown", 0), 0)
    require("texts that went to a number a second time", texts - numbers, 0)
    unknown = states.get("unknown", 0)
    require("no more unknown than was in the air", unknown <= IN_THE_AIR * Settings(b"", b"").batch, expected=True)
    require("sent contacts that the provider has", numbers >= states["sent"], expected=True)
    return (
        f"  killed when the provider had {at_the_kill:,} of {count:,}: 0 lost, 0 sent twice, {unknown} unknown"
        f" (of which the provider has {numbers - states['sent']})"
    )


async def _killed_at_half(world: World, url: str, there: Provider, count: int) -> int:
    """Kill the process when the provider has half of them, and return how many it has."""
    worker = _told(world, url, 0)
    try:
        await until(lambda: there.took("peek")[0] >= count // 2, "half of the contacts", within_s=WITHIN_S)
    finally:
        worker.process.kill()
        worker.process.wait()
    enough("it was not killed in the middle", there=(await _states(world)).keys() >= {"in_flight", "pending", "sent"})
    return there.took("peek")[0]


async def _sent(world: World, url: str, later_s: int) -> None:
    worker = _told(world, url, later_s)
    try:
        await asyncio.to_thread(worker.wait_for, "end")
    finally:
        worker.end()


def _told(world: World, url: str, later_s: int) -> WorkerProcess:
    worker = side_by_side.sender(world, url, later_s)
    worker.wait_for("begin")
    worker.say("go")
    return worker


async def _states(world: World) -> dict[str, int]:
    async with world.engine.connect() as conn:
        return {row[0]: row[1] for row in await conn.execute(_STATES)}
