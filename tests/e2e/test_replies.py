"""What ingest and the notifier must agree on to find who wrote a reply."""

from __future__ import annotations

from sqlalchemy import text

from libs.common.addresses import lookup_of
from tests.e2e.world import World, borrower, late_loan


async def test_the_notifier_knows_an_address_by_the_hash_that_ingest_gave_it(world: World) -> None:
    profile, *consents = borrower("B1")
    profile["data"]["addresses"] = [{"channel": "sms", "address": " +12025550123 "}]
    await world.publish(profile, *consents, late_loan("L1", "B1"))
    await world.let_pass(minutes=30)
    async with world.platform.engine.connect() as conn:
        lookups = (await conn.execute(text("select lookup from notifier.contacts"))).scalars().all()
    assert lookups == [lookup_of(b"d" * 32, "default", "sms", "+12025550123")]
