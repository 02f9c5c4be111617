"""Two things at once: payments against claims, senders against senders, caps against everybody, and a process that is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.bus.inprocess import InProcessBus
from libs.common.clock import DrivenClock, stopwatch
from libs.common.lifecycle import Service
from libs.common.ports import Ports
from libs.compliance import Packs, load_packs
from libs.compliance.packs import parse_pack
from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.results import Accepted, Refused, Result
from services.notifier.service import Options, build
from services.notifier.store import borrowers, known
from tests.integration.notifier.world import MORNING, PATIENCE_S, TENANT, World, a_fact, a_world
from tests.support.postgres import Databases
from tests.support.running import until


@dataclass
class HoldingClock:
    """A clock that keeps a claim in its transaction, holding its locks, until released."""

    driven: DrivenClock
    hold_on: int = 0
    held: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    readings: int = 0

    def now(self) -> datetime:
        return self.driven.now()

    async def at(self, conn: AsyncConnection) -> datetime:
        self.readings += 1
        if self.readings == self.hold_on:
            self.held.set()
            await self.go.wait()
        return await self.driven.at(conn)

    def known(self) -> datetime:
        return self.driven.known()


REFUSED = Refused("no", "recipient")


@dataclass
class Slow:
    """A provider that refuses, or answers otherwise, only once released."""

    name: str = "sandbox"
    channels: tuple[str, ...] = ("sms", "email")
    sandbox: bool = True
    called: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    given: int = 0
    says: Result = REFUSED

    async def deliver(self, batch: Sequence[OutgoingMessage]) -> list[Result]:
        self.given += len(batch)
        self.called.set()
        await self.go.wait()
        return [self.says for _ in batch]


@dataclass
class Recording:
    """A provider that keeps what it was given, and may be cancelled while at work."""

    name: str = "sandbox"
    channels: tuple[str, ...] = ("sms", "email", "push", "inbox")
    sandbox: bool = True
    cut: bool = False
    given: list[OutgoingMessage] = field(default_factory=list)

    async def deliver(self, batch: Sequence[OutgoingMessage]) -> list[Result]:
        self.given += batch
        await asyncio.sleep(0)
        if self.cut:
            raise asyncio.CancelledError
        return [Accepted(message.id) for message in batch]


async def test_a_claim_that_meets_an_open_payment_leaves_the_contact_alone(databases: Databases) -> None:
    async with a_world(databases) as world:
        for borrower in ("payer", "witness"):
            await world.late_borrower(borrower)
            await world.request(borrower)
        async with world.engine.begin() as payment:
            await borrowers.lock(payment, [(TENANT, "payer")])
            await known.keep_facts(payment, {(TENANT, "payer", "loan-payer"): a_fact("payer", overdue=0, version=2)})
            await world.service.pump()
            assert await world.messages("payer") == []
        await world.service.pump()
        assert await world.messages("payer") == []
        assert len(await world.messages("witness")) == 1
        assert (await world.delivery("payer"))["reason"] == "paid"


async def test_while_a_batch_is_not_answered_one_more_goes_out_and_nothing_is_marked_that_cannot_start(databases: Databases) -> None:
    async with a_world(databases) as world:
        for number in range(4):
            await world.late_borrower(f"b{number}")
            await world.request(f"b{number}")
        slow = Slow()
        sending = asyncio.ensure_future(world.another(Options(providers=[slow]), batch=1).pump())
        in_flight = partial(world.scalar, "select count(*) from notifier.deliveries where state = 'in_flight'")
        try:
            await until(partial(reached, slow, 2), "the second batch")
            assert await in_flight() == 2
        finally:
            slow.go.set()
        await asyncio.wait_for(sending, PATIENCE_S)
        assert (slow.given, await in_flight()) == (4, 0)


async def test_a_sender_that_is_asked_to_end_claims_no_further_batch(databases: Databases) -> None:
    async with a_world(databases) as world:
        for number in range(4):
            await world.late_borrower(f"b{number}")
            await world.request(f"b{number}")
        slow, stop = Slow(), asyncio.Event()
        sender = next(one for one in world.another(Options(providers=[slow]), batch=1).workers if one.name == "sender")
        sending = asyncio.ensure_future(sender.run(stop))
        try:
            await until(partial(reached, slow, 2), "the second batch")
            stop.set()
        finally:
            slow.go.set()
        await asyncio.wait_for(sending, PATIENCE_S)
        assert slow.given == 2


async def test_a_message_must_start_before_its_lawful_hours_end(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        await world.request("b1")
        world.clock.move_to(MORNING + timedelta(hours=12) - timedelta(milliseconds=1))
        await world.fresh_watermarks()
        provider = Recording()
        await world.another(Options(providers=[provider])).pump()
        [message] = provider.given
        assert message.start_by is not None
        assert message.start_by < stopwatch() + 1


async def reached(provider: Slow, wanted: int) -> bool:
    return provider.given >= wanted


async def has_passed(second: float) -> bool:
    return stopwatch() > second


async def test_a_payment_that_meets_an_open_claim_waits_until_the_mark_is_committed(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("payer")
        await world.request("payer")
        clock = HoldingClock(world.clock, hold_on=5)
        provider = Recording()
        other = build(
            Ports(world.engine, InProcessBus(clock=world.clock), clock, "test"), world.settings, Options(providers=[provider])
        )  # fmt: skip
        claim = asyncio.ensure_future(other.pump())
        await asyncio.wait_for(clock.held.wait(), PATIENCE_S)
        payment = asyncio.create_task(world.fact("payer", overdue=0, version=2))
        await until(partial(world.scalar, "select count(*) > 0 from pg_locks where not granted"), "a wait for a lock")
        assert not payment.done()
        clock.go.set()
        await asyncio.wait_for(asyncio.gather(claim, payment), PATIENCE_S)
        [message] = provider.given
        assert "120.50" in message.body
        assert message.deadline == MORNING + timedelta(hours=12), "a provider tries on to the end of the lawful hours"
        counted = (await world.call("GET", "/metrics")).text
        assert 'dunwell_sends_past_payment_total{kind="unaware"} 0.0' in counted
        assert await world.scalar("select count(*) from notifier.attempts") == 1


async def test_a_sender_that_stood_still_over_its_claim_sends_nothing_of_it_and_asks_again(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("payer")
        await world.request("payer")
        clock, provider = HoldingClock(world.clock, hold_on=5), Recording()
        settings = replace(world.settings, start_within_s=0.05)
        other = build(Ports(world.engine, InProcessBus(clock=world.clock), clock, "test"), settings, Options(providers=[provider]))
        claim, began = asyncio.ensure_future(other.pump()), stopwatch()
        await asyncio.wait_for(clock.held.wait(), PATIENCE_S)
        payment = asyncio.create_task(world.fact("payer", overdue=0, version=2))
        await until(partial(world.scalar, "select count(*) > 0 from pg_locks where not granted"), "a wait for a lock")
        await until(partial(has_passed, began + settings.start_within_s), "the end of its time to start")
        clock.go.set()
        await asyncio.wait_for(asyncio.gather(claim, payment), PATIENCE_S)
        await other.pump()
        assert provider.given == []
        assert (await world.delivery("payer"))["reason"] == "paid"


async def test_a_contact_that_a_payment_on_its_way_could_not_stop_is_counted(databases: Databases) -> None:
    async with a_world(databases) as world:
        for borrower in ("payer", "other"):
            await world.late_borrower(borrower)
            await world.request(borrower)
        said_at = world.clock.now()
        world.clock.advance(timedelta(seconds=1))
        await world.service.pump()
        for _ in range(2):
            await world.fact("payer", overdue=0, version=2, said_at=said_at)
        counted = (await world.call("GET", "/metrics")).text
        assert 'dunwell_sends_past_payment_total{kind="unaware"} 1.0' in counted
        assert 'dunwell_sends_past_payment_total{kind="aware"} 0.0' in counted


async def test_a_cancel_while_in_flight_keeps_a_refused_contact_from_the_next_channel(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", addresses={"sms": "+8613800000001", "email": "b1@example.org"})
        await world.request("b1")
        provider = Slow()
        sending = asyncio.ensure_future(world.another(Options(providers=[provider])).pump())
        await asyncio.wait_for(provider.called.wait(), PATIENCE_S)
        await world.cancel("b1")
        assert (await world.delivery("b1"))["state"] == "in_flight"
        provider.go.set()
        await asyncio.wait_for(sending, PATIENCE_S)
        assert (await world.delivery("b1"))["state"] == "cancelled"
        assert provider.given == 1


async def test_what_was_accepted_is_written_on_the_contact_as_it_stands_by_then(databases: Databases) -> None:
    provider = Slow(says=Accepted("ref"))
    async with a_world(databases, options=Options(providers=[provider])) as world:
        for borrower in ("stays", "called-off"):
            await world.late_borrower(borrower, addresses={"sms": f"+8613800{len(borrower):06d}", "email": f"{borrower}@example.org"})
            await world.request(borrower, fallback_after=timedelta(hours=1))
        sending = asyncio.ensure_future(world.service.pump())
        await asyncio.wait_for(provider.called.wait(), PATIENCE_S)
        await world.cancel("called-off")
        provider.go.set()
        await asyncio.wait_for(sending, PATIENCE_S)
        assert await world.scalar("select array_agg(borrower_id) from notifier.deliveries where state = 'sent' and next_at is null") == [
            "called-off"
        ]
        assert await world.scalar("select array_agg(borrower_id) from notifier.deliveries where cancelled") == ["called-off"]
        assert await world.scalar("select count(*) from notifier.attempts where result = 'accepted' and provider_ref = 'ref'") == 2
        assert await world.scalar("select count(*) from notifier.contacts where result = 'accepted'") == 2
        assert [world.outcomes(borrower) for borrower in ("stays", "called-off")] == [["sent"], ["sent"]]


async def test_senders_side_by_side_send_each_contact_once(databases: Databases) -> None:
    async with a_world(databases) as world:
        names = [f"b{i}" for i in range(60)]
        for borrower in names:
            await world.late_borrower(borrower)
            await world.request(borrower)
        provider = Recording()
        senders = [world.another(Options(providers=[provider]), batch=7) for _ in range(4)]
        await _pumped(world, senders)
        assert sorted(message.borrower_id for message in provider.given) == sorted(names)


async def test_a_killed_process_leaves_unknown_what_it_had_in_flight_and_nobody_sends_it_again(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        await world.request("b1")
        provider = Recording(cut=True)
        with pytest.raises(asyncio.CancelledError):
            await world.another(Options(providers=[provider])).pump()
        assert (await world.delivery("b1"))["state"] == "in_flight"
        await world.request("b1")
        for _ in range(3):
            world.clock.advance(timedelta(seconds=25))
            await world.fresh_watermarks()
            later = world.another()
            await later.start()
            await later.pump()
        await world.service.pump()
        assert (await world.delivery("b1"))["state"] == "unknown"
        assert (await world.delivery("b1"))["attempts"][0]["result"] == "unknown"
        assert len(provider.given) == 1
        assert await world.messages("b1") == []


CAPPED = """
id: TT
name: A country with caps, for these tests
version: "1"
verified: not law; an invented country
sandbox_only: true
zones: []
rules:
- {id: tt-number, kind: cap, nature: law, cite: "test", evidence: product_default, channels: [any],
   limit: 3, unit: dial, reach: {rolling_calendar_days: 7}, scope: number}
- {id: tt-person, kind: cap, nature: law, cite: "test", evidence: product_default, channels: [any],
   limit: 1, unit: dial, reach: {rolling_calendar_days: 7}, scope: person}
"""


def capped(unit: str = "dial") -> Packs:
    return Packs({**load_packs().by_id, "TT": parse_pack(CAPPED.replace("dial", unit), "TT.yaml")})


async def test_no_number_of_senders_makes_one_contact_more_than_the_cap_of_a_phone(databases: Databases) -> None:
    async with a_world(databases) as world:
        for i in range(12):
            await world.late_borrower(f"b{i}", addresses={"sms": "+8613800000001"}, jurisdictions=("TT",))
            await world.request(f"b{i}")
        provider = Recording()
        senders = [world.another(Options(packs=capped(), providers=[provider]), batch=2) for _ in range(4)]
        await _pumped(world, senders)
        assert len(provider.given) == 3
        reasons = {(await world.delivery(f"b{i}"))["reason"] for i in range(12)}
        assert reasons == {None, "tt-number"}


async def test_a_cap_over_a_phone_holds_inside_one_batch_too(databases: Databases) -> None:
    async with a_world(databases) as world:
        for i in range(6):
            await world.late_borrower(f"b{i}", addresses={"sms": "+8613800000001"}, jurisdictions=("TT",))
            await world.request(f"b{i}")
        provider = Recording()
        await _pumped(world, [world.another(Options(packs=capped(), providers=[provider]))])
        assert len(provider.given) == 3


async def test_a_borrower_with_two_tasks_is_contacted_as_often_as_the_cap_allows(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", jurisdictions=("TT",))
        for task in ("t1", "t2"):
            await world.request("b1", task)
        provider = Recording()
        await _pumped(world, [world.another(Options(packs=capped(), providers=[provider])) for _ in range(2)])
        assert len(provider.given) == 1
        assert {(await world.delivery("b1", task))["reason"] for task in ("t1", "t2")} == {None, "tt-person"}


async def test_what_another_owner_of_the_phone_got_counts_for_the_phone_alone(databases: Databases) -> None:
    async with a_world(databases) as world:
        for i in range(2):
            await world.late_borrower(f"b{i}", addresses={"sms": "+8613800000001"}, jurisdictions=("TT",))
            await world.request(f"b{i}")
        provider = Recording()
        await _pumped(world, [world.another(Options(packs=capped(), providers=[provider]))])
        assert len(provider.given) == 2


async def test_facts_in_any_order_against_claims_never_end_in_a_deadlock(databases: Databases) -> None:
    async with a_world(databases) as world:
        names = [f"b{i}" for i in range(20)]
        for borrower in names:
            await world.late_borrower(borrower, jurisdictions=("TT",))
            await world.request(borrower)
        senders = [world.another(Options(packs=capped(), providers=[Recording()]), batch=5) for _ in range(2)]

        async def facts(version: int) -> None:
            for borrower in names if version % 2 else reversed(names):
                await world.fact(borrower, version=version)

        await asyncio.wait_for(asyncio.gather(*(facts(v) for v in (2, 3)), *(s.pump() for s in senders)), PATIENCE_S)
        assert await world.scalar("select deadlocks from pg_stat_database where datname = current_database()") == 0


async def test_a_database_that_was_somewhere_else_before_gives_up_what_was_open(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        await world.request("b1")
        async with world.engine.begin() as conn:
            await conn.execute(text("update notifier.lineage set timeline = timeline + 1"))
        restored = world.another()
        await restored.start()
        await restored.pump()
        assert (await world.delivery("b1"))["state"] == "unknown"
        await world.request("b1", "from-before")
        await restored.pump()
        assert (await world.delivery("b1", "from-before"))["reason"] == "records_lost"
        assert await world.messages("b1") == []


async def test_a_stop_of_one_debt_leaves_the_others_to_be_named(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        await world.fact("b1", loan="other")
        request = world.a_request("b1")
        debts = (*request.debts, msgspec.structs.replace(request.debts[0], loan_id="other"))
        await world.hold("b1", loan_id="other")
        await world.request("b1", debts=debts)
        await world.service.pump()
        [message] = await world.messages("b1")
        assert "120.50" in message["body"]


async def test_a_hold_ends_whichever_of_its_messages_comes_first(databases: Databases) -> None:
    async with a_world(databases) as world:
        for borrower in ("held", "released"):
            await world.late_borrower(borrower)
        await world.hold("held")
        await world.end_hold("released")
        await world.hold("released")
        for borrower in ("held", "released"):
            await world.request(borrower)
        await world.service.pump()
        assert await world.messages("held") == []
        assert len(await world.messages("released")) == 1


async def _pumped(world: World, senders: Sequence[Service]) -> None:
    """Run these senders at the same time until nothing is due."""
    async with asyncio.timeout(PATIENCE_S):
        while (due := await world.service.next_due()) is not None and due <= world.clock.now():
            await asyncio.gather(*(sender.pump() for sender in senders))
