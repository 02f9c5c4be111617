"""What may have gone out: closed at its deadline, continued where the request says so, and kept apart after a restore."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from libs.common.bus.inprocess import InProcessBus
from libs.common.cloudevents import Writer
from libs.common.lifecycle import Service
from libs.common.outbox import Outbox
from libs.common.ports import Ports
from services.notifier.announcing import Announcer
from services.notifier.directory import Directory
from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.receipts import Receipt, Standing
from services.notifier.domain.restoring import NUMBERS_OF_AN_EPOCH
from services.notifier.domain.results import Accepted, Result
from services.notifier.providers.port import Provider
from services.notifier.receiving import Receiver
from services.notifier.service import Options, build
from services.notifier.store.receipts import Word
from tests.integration.notifier.test_races import Recording, capped
from tests.integration.notifier.world import MORNING, NIGHT, PATIENCE_S, TENANT, World, a_world
from tests.support.postgres import Databases

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
CUT_MAIL = {"email": "unknown@example.org", "sms": "+8613800000001"}
MUTE_PHONE = {"sms": "noreceipt", "email": "b1@example.org"}


@dataclass
class Late:
    """A provider that accepts, but answers only once released."""

    name: str = "sandbox"
    channels: tuple[str, ...] = ("sms", "email")
    sandbox: bool = True
    called: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    parts: tuple[str, ...] = ()

    async def deliver(self, batch: Sequence[OutgoingMessage]) -> list[Result]:
        self.called.set()
        await self.go.wait()
        return [Accepted(self.parts[0] if self.parts else message.id, parts=self.parts) for message in batch]


async def receive(
    world: World, *channels: str, standing: Standing = Standing.DELIVERED, times: int = 1, signed: bool = True
) -> None:  # fmt: skip
    """Deliver receipts for messages of b1 in one callback, this many times."""
    code = "30003" if standing is Standing.FAILED else None
    words = []
    for channel in channels:
        message = await world.scalar(f"select message_id from notifier.attempts where channel = '{channel}'")
        words.append(Word(f"{channel} {standing.name}".encode(), Receipt(standing, str(message), code=code)))
    for _ in range(times):
        await a_receiver(world).keep(TENANT, "sandbox", words, sealed=b"", signed=signed)
    await world.service.pump()


def a_receiver(world: World) -> Receiver:
    directory = Directory(
        world.engine, world.clock, world.settings.ring, world.settings.digest_key, builtin={}, public_url=None
    )  # fmt: skip
    announcer = Announcer(Writer("test", world.bus.partitions))
    return Receiver(world.engine, world.clock, Outbox("notifier"), announcer, directory, directory.fetch)


async def channels(world: World) -> list[str]:
    return [message["channel"] for message in await world.messages("b1")]


async def moved_database(world: World) -> None:
    """Make the database look like a different one; the next claim notices."""
    async with world.engine.begin() as conn:
        await conn.execute(text("update notifier.lineage set timeline = timeline + 1"))


async def test_an_unknown_contact_is_closed_a_day_later_and_never_sent_again(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", addresses=CUT_MAIL)
        await world.request("b1", channels=("email", "sms"))
        await world.service.pump()
        assert await world.service.next_due() == MORNING + DAY
        assert [(told.data.final, told.data.until) for told in world.told] == [(False, MORNING + DAY)]
        await world.pass_to(MORNING + DAY - timedelta(seconds=1))
        assert (await world.delivery("b1"))["state"] == "unknown"
        for hours in (24, 48):
            await world.pass_to(MORNING + hours * HOUR)
        assert [(told.type, told.data.channel, told.data.final) for told in world.told][1:] == [("contact.unknown.v1", "email", True)]
        assert ((await world.delivery("b1"))["state"], await channels(world)) == ("unresolved", ["email"])
        assert await world.service.next_due() is None


async def test_where_the_request_says_so_an_unknown_contact_goes_on_and_both_stand_in_the_ledger(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", addresses=CUT_MAIL)
        await world.request("b1", channels=("email", "sms"), on_unknown="next_channel")
        await world.service.pump()
        assert (await channels(world), world.outcomes("b1")) == (["email", "sms"], ["unknown", "sent", "delivered"])
        ledger = (await world.get("/v1/borrowers/b1/contacts"))["items"]
        assert [(contact["channel"], contact["result"]) for contact in ledger] == [("email", "unknown"), ("sms", "delivered")]
        await world.pass_to(MORNING + DAY)
        assert ((await world.delivery("b1"))["state"], await channels(world)) == ("delivered", ["email", "sms"])


async def test_an_unknown_contact_counts_in_the_caps_of_the_next_channel(databases: Databases) -> None:
    async with a_world(databases, options=Options(packs=capped())) as world:
        await world.late_borrower("b1", addresses=CUT_MAIL, jurisdictions=("TT",))
        await world.request("b1", channels=("email", "sms"), on_unknown="next_channel", expires_at=MORNING + 8 * HOUR)
        for hours in (0, 8, 24):
            await world.pass_to(MORNING + hours * HOUR)
        assert await channels(world) == ["email"]
        assert world.outcomes("b1") == ["unknown", "deferred", "unknown"]
        delivery = await world.delivery("b1")
        assert (delivery["state"], delivery["channel"]) == ("unresolved", "email")


async def test_an_attempt_of_a_process_that_is_gone_goes_on_and_its_late_answer_is_written_where_it_belongs(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", addresses={"sms": "+8613800000001", "email": "noreceipt@example.org"})
        await world.request("b1", on_unknown="next_channel")
        slow = Late()
        first = asyncio.ensure_future(world.another(Options(providers=[slow])).pump())
        await asyncio.wait_for(slow.called.wait(), PATIENCE_S)
        await world.pass_to(MORNING + timedelta(seconds=61))
        assert (await channels(world), world.outcomes("b1")) == (["email"], ["unknown", "sent"])
        slow.go.set()
        await asyncio.wait_for(first, PATIENCE_S)
        delivery = await world.delivery("b1")
        assert [(one["channel"], one["result"]) for one in delivery["attempts"]] == [("sms", "accepted"), ("email", "accepted")]
        assert (delivery["state"], delivery["sequence"]) == ("sent", 3), "the late answer is announced too"


async def test_a_message_without_a_receipt_goes_to_the_next_channel_after_its_time_and_once(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", addresses={"sms": "noreceipt", "email": "noreceipt@example.org", "push": "token"})
        await world.request("b1", channels=("sms", "email", "push"), fallback_after=HOUR)
        await world.service.pump()
        await world.pass_to(MORNING + HOUR - timedelta(seconds=1))
        assert await channels(world) == ["sms"]
        for hours in (1, 2, 3):
            await world.pass_to(MORNING + hours * HOUR)
        assert (await channels(world), world.outcomes("b1")) == (["sms", "email"], ["sent", "sent"])


async def test_a_message_that_has_arrived_goes_to_no_other_channel(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", addresses=MUTE_PHONE)
        await world.request("b1", fallback_after=HOUR)
        await world.service.pump()
        await receive(world, "sms")
        await world.pass_to(MORNING + HOUR)
        assert (await channels(world), world.outcomes("b1")) == (["sms"], ["sent", "delivered"])


async def test_a_receipt_of_the_first_message_after_the_second_was_sent_is_recorded_once_beside_it(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", addresses={**MUTE_PHONE, "email": "noreceipt@example.org"})
        await world.request("b1", fallback_after=HOUR)
        for hours in (0, 1):
            await world.pass_to(MORNING + hours * HOUR)
        for channel in ("sms", "sms", "email"):
            await receive(world, channel, times=2)
        delivery = await world.delivery("b1")
        assert [(one["channel"], one["receipt"]) for one in delivery["attempts"]] == [("sms", "delivered"), ("email", "delivered")]
        assert (delivery["state"], world.outcomes("b1")) == ("delivered", ["sent", "sent", "delivered", "delivered"])
        assert [told.data.channel for told in world.told] == ["sms", "email", "sms", "email"]
        assert world.told[-1].data.loans == ("loan-b1",)


async def test_a_message_that_comes_back_goes_to_the_next_channel_at_once_and_a_later_word_that_it_arrived_counts(
    databases: Databases,
) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", addresses={**MUTE_PHONE, "email": "noreceipt@example.org"})
        await world.request("b1", fallback_after=HOUR)
        await world.service.pump()
        await receive(world, "sms", standing=Standing.FAILED, times=2)
        assert (await channels(world), world.outcomes("b1")) == (["sms", "email"], ["sent", "sent"])
        await receive(world, "email", standing=Standing.FAILED)
        delivery = await world.delivery("b1")
        assert (delivery["state"], delivery["reason"], world.outcomes("b1")[2:]) == ("failed", "30003", ["failed"])
        await receive(world, "sms", standing=Standing.DELIVERED)
        delivery = await world.delivery("b1")
        assert (delivery["state"], delivery["channel"], world.outcomes("b1")[3:]) == ("delivered", "sms", ["delivered"])


@pytest.mark.parametrize(("signed", "sent"), [(True, ["sms", "email"]), (False, ["sms"])])
async def test_a_message_that_comes_back_leaves_its_place_in_caps_to_the_next_channel_where_that_is_signed(
    databases: Databases, *, signed: bool, sent: list[str]
) -> None:
    async with a_world(databases, options=Options(packs=capped("attempt"))) as world:
        await world.late_borrower("b1", addresses=MUTE_PHONE, jurisdictions=("TT",))
        await world.request("b1", fallback_after=HOUR)
        await world.service.pump()
        await receive(world, "sms", standing=Standing.FAILED, signed=signed)
        assert await channels(world) == sent
        await world.request("b1", "second")
        await world.service.pump()
        assert (await world.delivery("b1", "second"))["reason"] == "tt-person"


async def test_two_messages_that_come_back_in_one_callback_have_failed(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", addresses={**MUTE_PHONE, "email": "noreceipt@example.org"})
        await world.request("b1", fallback_after=HOUR)
        for hours in (0, 1):
            await world.pass_to(MORNING + hours * HOUR)
        await receive(world, "sms", "email", standing=Standing.FAILED)
        assert ((await world.delivery("b1"))["state"], world.outcomes("b1")) == ("failed", ["sent", "sent", "failed"])


async def test_what_came_back_and_is_then_called_off_is_cancelled(databases: Databases) -> None:
    async with a_world(databases, options=Options(packs=capped())) as world:
        await world.late_borrower("b1", addresses=MUTE_PHONE, jurisdictions=("TT",))
        await world.request("b1", fallback_after=HOUR)
        await world.service.pump()
        await receive(world, "sms", standing=Standing.FAILED)
        assert (await world.delivery("b1"))["state"] == "pending"
        await world.cancel("b1")
        await world.service.pump()
        assert ((await world.delivery("b1"))["state"], world.outcomes("b1")) == ("cancelled", ["sent", "deferred", "suppressed"])


@pytest.mark.parametrize(
    ("standing", "outcomes"), [(Standing.SENT, ["sent"]), (Standing.DELIVERED, ["sent", "delivered"]), (Standing.FAILED, ["failed"])]
)
async def test_an_answer_that_its_receipt_has_overtaken_changes_nothing(
    databases: Databases, standing: Standing, outcomes: list[str]
) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", addresses={"sms": "+8613800000001"})
        await world.request("b1", channels=("sms",))
        slow = Late()
        first = asyncio.ensure_future(world.another(Options(providers=[slow])).pump())
        await asyncio.wait_for(slow.called.wait(), PATIENCE_S)
        await receive(world, "sms", standing=standing)
        before = await world.delivery("b1")
        slow.go.set()
        await asyncio.wait_for(first, PATIENCE_S)
        after = await world.delivery("b1")
        assert after["attempts"][0].pop("parts") is not None, "that many were given to the provider"
        assert before["attempts"][0].pop("parts") is None
        assert after == before
        assert (before["state"], before["attempts"][0]["receipt"], world.outcomes("b1")) == (outcomes[-1], standing.name.lower(), outcomes)
        await world.pass_to(MORNING + 2 * DAY)
        assert (await world.delivery("b1"))["state"] == before["state"]


async def test_parts_whose_receipts_overtake_the_record_speak_for_themselves_alone(databases: Databases) -> None:
    """The answer names one part more than expected."""
    async with a_world(databases) as world:
        await world.late_borrower("b1", addresses=MUTE_PHONE)
        await world.request("b1")
        slow = Late(parts=("p1", "p2", "p3"))
        sending = asyncio.ensure_future(world.another(Options(providers=[slow])).pump())
        await slow.called.wait()
        message = str(await world.scalar("select message_id from notifier.attempts"))
        seen = []
        for ref in slow.parts:
            said = Receipt(Standing.DELIVERED, message, ref, of_part=True, parts=2)
            await a_receiver(world).keep(TENANT, "sandbox", [Word(ref.encode(), said)], sealed=b"", signed=True)
            seen.append((await world.delivery("b1"))["state"])
            if ref == "p1":
                slow.go.set()
                await sending
                seen.append((await world.delivery("b1"))["state"])
        assert seen == ["sent", "sent", "sent", "delivered"]


async def test_the_late_answer_of_a_message_that_a_receipt_has_told_of_lowers_nothing(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", addresses={"sms": "+8613800000001", "email": "noreceipt@example.org"})
        await world.request("b1", on_unknown="next_channel")
        slow = Late()
        first = asyncio.ensure_future(world.another(Options(providers=[slow])).pump())
        await asyncio.wait_for(slow.called.wait(), PATIENCE_S)
        await world.pass_to(MORNING + timedelta(seconds=61))
        await receive(world, "sms", standing=Standing.DELIVERED)
        slow.go.set()
        await asyncio.wait_for(first, PATIENCE_S)
        delivery = await world.delivery("b1")
        assert (delivery["state"], delivery["channel"], delivery["attempts"][0]["receipt"]) == ("delivered", "sms", "delivered")
        assert world.outcomes("b1") == ["unknown", "sent", "sent", "delivered"]
        ledger = (await world.get("/v1/borrowers/b1/contacts"))["items"]
        assert [(contact["channel"], contact["result"]) for contact in ledger] == [("sms", "delivered"), ("email", "accepted")]


async def test_a_receipt_resolves_an_unknown_contact_whether_its_deadline_has_passed_or_not(databases: Databases) -> None:
    for later in (HOUR, 2 * DAY):
        async with a_world(databases) as world:
            await world.late_borrower("b1", addresses=CUT_MAIL)
            await world.request("b1", channels=("email",))
            await world.service.pump()
            await world.pass_to(MORNING + later)
            await receive(world, "email")
            assert world.outcomes("b1")[-2:] == ["sent", "delivered"]
            await world.pass_to(MORNING + 3 * DAY)
            assert (await world.delivery("b1"))["state"] == "delivered"


@pytest.mark.parametrize("what", ["cancelled", "paid"])
async def test_what_was_called_off_or_paid_since_goes_to_no_other_channel_and_stays_sent(databases: Databases, what: str) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", addresses=MUTE_PHONE)
        await world.request("b1", fallback_after=HOUR)
        await world.service.pump()
        await (world.cancel("b1") if what == "cancelled" else world.fact("b1", overdue=0, version=2))
        await world.pass_to(MORNING + HOUR)
        await world.service.pump()
        assert (await channels(world), world.outcomes("b1"), (await world.delivery("b1"))["state"]) == (["sms"], ["sent"], "sent")


async def test_a_contact_called_off_while_it_waits_for_its_next_channel_is_what_it_was_on_the_first(databases: Databases) -> None:
    async with a_world(databases, options=Options(packs=capped())) as world:
        await world.late_borrower("b1", addresses=CUT_MAIL, jurisdictions=("TT",))
        await world.request("b1", channels=("email", "sms"), on_unknown="next_channel")
        await world.service.pump()
        assert (await world.delivery("b1"))["state"] == "pending"
        await world.cancel("b1")
        delivery = await world.delivery("b1")
        assert (delivery["state"], delivery["channel"], world.outcomes("b1")) == ("unknown", "email", ["unknown", "deferred"])
        await world.pass_to(MORNING + DAY)
        assert world.outcomes("b1") == ["unknown", "deferred", "unknown"]


async def test_after_a_restore_what_was_due_only_later_goes_out_and_what_may_have_gone_out_does_not(databases: Databases) -> None:
    async with a_world(databases) as world:
        for borrower, later in (("waiting", 2 * HOUR), ("due", timedelta())):
            await world.late_borrower(borrower)
            await world.request(borrower, not_before=MORNING + later)
        await moved_database(world)
        world.clock.advance(HOUR)
        restored = world.another()
        await restored.start()
        for hours in (1, 2):
            world.clock.move_to(MORNING + hours * HOUR)
            await world.fresh_watermarks()
            await restored.pump()
        assert (len(await world.messages("waiting")), await world.messages("due")) == (1, [])
        assert (await world.delivery("due"))["sequence"] == NUMBERS_OF_AN_EPOCH + 1
        assert await world.scalar("select min(epoch) from notifier.deliveries") == 2


async def test_a_request_of_the_new_epoch_goes_out_and_one_of_the_lost_time_does_not(databases: Databases) -> None:
    async with a_world(databases) as world:
        for borrower in ("old", "later", "new"):
            await world.late_borrower(borrower)
        await moved_database(world)
        restored = world.another()
        await restored.start()
        await world.request("old")
        await world.request("later", not_before=MORNING + HOUR)
        world.clock.advance(timedelta(seconds=10))
        await world.request("new")
        for moment in (world.clock.now(), MORNING + HOUR):
            await world.pass_to(moment)
        sent = {borrower: len(await world.messages(borrower)) for borrower in ("old", "later", "new")}
        assert sent == {"old": 0, "later": 1, "new": 1}
        assert (await world.delivery("old"))["reason"] == "records_lost"


async def test_a_sent_message_does_not_fall_back_after_a_restore_since_it_may_have_done_so_already(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", addresses=MUTE_PHONE)
        await world.request("b1", fallback_after=HOUR)
        await world.service.pump()
        await moved_database(world)
        provider = Recording()
        restored = world.another(Options(providers=[provider]))
        await restored.start()
        world.clock.move_to(MORNING + HOUR)
        await world.fresh_watermarks()
        await restored.pump()
        assert (provider.given, (await world.delivery("b1"))["state"]) == ([], "sent")


@pytest.mark.parametrize("arrives", ["nothing", "a fact", "a cancel", "a fact later"])
async def test_what_waited_for_the_morning_goes_out_after_a_restore_unless_the_lost_time_may_have_released_it(
    databases: Databases, arrives: str
) -> None:
    async with a_world(databases, at=NIGHT) as world:
        await world.late_borrower("b1")
        await world.request("b1")
        await world.service.pump()
        await moved_database(world)
        provider = Recording()
        restored = on_a_bus_that_remembers(world, provider)
        await restored.start()
        await restored.pump()
        assert (await world.delivery("b1"))["state"] == "pending"
        if arrives == "a fact":
            await world.fact("b1", version=2)
        elif arrives == "a cancel":
            await world.cancel("b1")
        await looked_at(world, restored, NIGHT + timedelta(minutes=1))
        if arrives == "a fact later":
            await world.fact("b1", version=2)
        await looked_at(world, restored, NIGHT + timedelta(hours=8))
        sent = arrives in {"nothing", "a fact later"}
        assert (len(provider.given), (await world.delivery("b1"))["state"]) == ((1, "sent") if sent else (0, "unknown"))


async def test_what_waited_is_unknown_after_a_restore_on_a_bus_that_forgets(databases: Databases) -> None:
    async with a_world(databases, at=NIGHT) as world:
        await world.late_borrower("b1")
        await world.request("b1")
        await world.service.pump()
        await moved_database(world)
        restored = world.another()
        await restored.start()
        assert (await world.delivery("b1"))["reason"] == "records_lost"


async def test_what_waited_is_not_sent_before_the_lost_time_is_read_again(databases: Databases) -> None:
    async with a_world(databases, at=NIGHT) as world:
        await world.late_borrower("b1")
        await world.request("b1", expires_at=NIGHT + timedelta(hours=9))
        await world.service.pump()
        await moved_database(world)
        provider = Recording()
        restored = on_a_bus_that_remembers(world, provider)
        await restored.start()
        async with world.engine.begin() as conn:
            await conn.execute(text("update notifier.positions set caught_up_at = :then"), {"then": NIGHT})
        for hours in (8, 9):
            world.clock.move_to(NIGHT + timedelta(hours=hours))
            await world.fresh_watermarks()
            await restored.pump()
        assert (provider.given, (await world.delivery("b1"))["state"]) == ([], "unknown")


def on_a_bus_that_remembers(world: World, provider: Provider) -> Service:
    """A second notifier that takes what the first one is told for what the bus replays."""
    bus = InProcessBus(clock=world.clock, partitions=world.bus.partitions)
    bus.reads_again = True
    return build(Ports(world.engine, bus, world.clock, "test"), world.settings, Options(providers=[provider]))


async def looked_at(world: World, service: Service, moment: datetime) -> None:
    """Let time pass, everything on the bus be taken in, and a restored notifier do what is due."""
    world.clock.move_to(moment)
    await world.fresh_watermarks()
    for consumer in world.service.consumers:
        await consumer.observe()
    due = await world.service.next_due()
    world.clock.move_to(min(due, moment + timedelta(minutes=1)) if due else moment)
    await service.pump()
