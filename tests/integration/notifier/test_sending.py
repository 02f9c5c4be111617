"""From a request to a message, and from a payment to silence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from libs.common.contracts.catalogue import PROFILES, TASKS
from libs.common.contracts.contact_tasks import DebtRef
from libs.common.contracts.overdue_facts import Doubt, NextDue
from libs.common.contracts.wallet_borrowers import ContactRecorded
from tests.integration.notifier.world import MORNING, NIGHT, World, a_world, loan_of
from tests.support.postgres import Databases


async def test_one_request_is_one_message_that_names_what_is_owed(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        await world.request("b1")
        await world.service.pump()
        [message] = await world.messages("b1")
        assert message["to"] == "+8613800000147"
        assert "CNY 120.50" in message["body"]
        assert "Li Wei" in message["body"]
        assert world.outcomes("b1") == ["sent", "delivered"]
        assert [told.data.sequence for told in world.told] == [1, 2]
        assert world.told[0].data.loans == (loan_of("b1"),)


async def test_the_same_request_three_times_is_one_message(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        for _ in range(3):
            await world.request("b1")
            await world.service.pump()
        assert len(await world.messages("b1")) == 1


async def test_a_cancel_that_comes_before_its_request_silences_it(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        await world.cancel("b1")
        await world.request("b1")
        await world.service.pump()
        assert await world.messages("b1") == []
        assert (await world.delivery("b1"))["state"] == "cancelled"


async def test_a_cancel_after_the_request_silences_it(databases: Databases) -> None:
    async with a_world(databases, at=NIGHT) as world:
        await world.late_borrower("b1")
        await world.request("b1")
        await world.service.pump()
        await world.cancel("b1")
        await world.pass_to(NIGHT + timedelta(hours=8))
        assert await world.messages("b1") == []


async def test_a_payment_in_the_last_second_silences_the_contact(databases: Databases) -> None:
    async with a_world(databases) as world:
        for borrower in ("payer", "witness"):
            await world.late_borrower(borrower)
            await world.request(borrower)
        await world.fact("payer", overdue=0, version=2)
        await world.service.pump()
        assert len(await world.messages("witness")) == 1
        assert await world.messages("payer") == []
        assert world.outcomes("payer") == ["suppressed"]
        assert (await world.delivery("payer"))["reason"] == "paid"


async def test_a_partial_payment_between_request_and_claim_changes_the_sum(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        await world.request("b1")
        await world.fact("b1", overdue=7050, version=2)
        await world.service.pump()
        [message] = await world.messages("b1")
        assert "70.50" in message["body"]
        assert "120.50" not in message["body"]


async def test_two_debts_are_one_message_with_their_sum_and_a_paid_one_is_left_out(databases: Databases) -> None:
    async with a_world(databases) as world:
        for borrower in ("both", "one"):
            await world.late_borrower(borrower)
            await world.fact(borrower, loan=f"second-{borrower}")
            debts = tuple(DebtRef(loan_id=loan, fact_epoch=1, fact_version=1) for loan in (loan_of(borrower), f"second-{borrower}"))
            await world.request(borrower, debts=debts)
        await world.fact("one", loan="second-one", overdue=0, version=2)
        await world.service.pump()
        [both], [one] = await world.messages("both"), await world.messages("one")
        assert "241.00" in both["body"]
        assert "241.00" not in one["body"]
        assert "120.50" in one["body"]


async def test_at_night_a_contact_waits_for_eight_in_the_morning(databases: Databases) -> None:
    async with a_world(databases, at=NIGHT) as world:
        await world.late_borrower("b1")
        await world.request("b1")
        await world.service.pump()
        await world.service.pump()
        assert await world.messages("b1") == []
        eight = datetime(2026, 11, 25, 0, 0, tzinfo=UTC)
        [told] = world.told
        assert (told.type, told.data.until) == ("contact.deferred.v1", eight)
        assert [rule.rule for rule in told.data.rules] == ["zz-hours"]
        due = await world.service.next_due()
        assert due is not None
        assert eight <= due <= eight + timedelta(seconds=30)
        await world.pass_to(due)
        assert len(await world.messages("b1")) == 1


async def test_a_message_that_may_not_go_out_before_its_end_expires_then(databases: Databases) -> None:
    async with a_world(databases, at=NIGHT) as world:
        await world.late_borrower("b1")
        await world.request("b1", expires_at=NIGHT + timedelta(hours=1))
        await world.service.pump()
        await world.pass_to(NIGHT + timedelta(hours=1))
        assert await world.messages("b1") == []
        assert world.outcomes("b1") == ["deferred", "expired"]


async def test_nothing_is_sent_while_a_watermark_is_old(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        await world.request("b1")
        world.clock.advance(timedelta(seconds=61))
        for _ in range(3):
            await world.service.pump()
            world.clock.advance(timedelta(seconds=1))
        assert await world.messages("b1") == []
        assert [told.data.reason for told in world.told] == ["pipeline_stale"]
        await world.pass_to(world.clock.now())
        assert len(await world.messages("b1")) == 1


async def test_a_watermark_never_goes_backwards(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        await world.request("b1")
        await world.fresh_watermarks(until=MORNING - timedelta(minutes=5))
        await world.service.pump()
        assert len(await world.messages("b1")) == 1


async def test_a_watermark_from_before_a_clock_was_set_back_says_nothing_and_gives_way_to_the_next(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.fresh_watermarks(until=MORNING + timedelta(hours=1))
        await world.late_borrower("b1")
        await world.request("b1")
        await world.service.pump()
        assert (await world.delivery("b1"))["reason"] == "pipeline_stale"
        await world.pass_to(MORNING + timedelta(seconds=1))
        assert len(await world.messages("b1")) == 1


async def test_a_silent_feed_stops_its_tenant(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        await world.request("b1")
        await world.fresh_watermarks(stale_feeds=["default"])
        await world.service.pump()
        assert await world.messages("b1") == []
        assert [told.data.reason for told in world.told] == ["feed_stale"]


async def test_the_dead_are_left_in_peace(databases: Databases) -> None:
    async with a_world(databases) as world:
        for borrower in ("dead", "witness"):
            await world.late_borrower(borrower)
        await world.status("dead", "deceased")
        for borrower in ("dead", "witness"):
            await world.request(borrower)
        await world.service.pump()
        assert len(await world.messages("witness")) == 1
        assert await world.messages("dead") == []
        assert (await world.delivery("dead"))["reason"] == "deceased"


async def test_a_stop_that_is_closed_stops_nobody_and_an_older_word_changes_nothing(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        await world.status("b1", "dispute", time=MORNING - timedelta(minutes=5))
        await world.close("b1", "borrower.status.v1", "status:s-1")
        await world.status("b1", "dispute", time=MORNING - timedelta(minutes=1))
        await world.request("b1")
        await world.service.pump()
        assert len(await world.messages("b1")) == 1


async def test_a_consent_is_kept_as_it_stands_and_a_closed_one_is_none(databases: Databases) -> None:
    async with a_world(databases) as world:
        granted = "select count(*) from notifier.consents where granted"
        await world.consent("b1", "sms")
        await world.consent("b1", "email")
        assert await world.scalar(granted) == 2
        world.clock.advance(timedelta(seconds=1))
        await world.consent("b1", "sms", granted=False)
        await world.close("b1", "borrower.consent.v1", "consent:email:dunning")
        assert await world.scalar(granted) == 0


async def test_a_record_that_closes_nothing_known_is_set_aside(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.close("b1", "borrower.status.v1", "nonsense")
        await world.late_borrower("b1")
        await world.request("b1")
        await world.service.pump()
        assert len(await world.messages("b1")) == 1


async def test_contacts_of_others_are_in_the_ledger_once(databases: Databases) -> None:
    async with a_world(databases) as world:
        made = ContactRecorded(contact_id="x", borrower_id="b1", channel="call", at=MORNING, by="agency", result="no_answer")
        for topic in (PROFILES, TASKS, TASKS):
            await world.hear(topic, "contact.recorded.v1", made, borrower="b1")
        [contact] = (await world.get("/v1/borrowers/b1/contacts"))["items"]
        assert (contact["by"], contact["channel"], contact["result"]) == ("agency", "call", "no_answer")


async def test_a_delivery_waits_for_its_profile_and_its_facts(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.request("b1", debts=(DebtRef(loan_id=loan_of("b1"), fact_epoch=1, fact_version=2),))
        await world.service.pump()
        assert (await world.delivery("b1"))["reason"] == "profile_unknown"
        await world.profile("b1")
        await world.fact("b1", version=1)
        await world.service.pump()
        assert (await world.delivery("b1"))["reason"] == "facts_behind"
        await world.fact("b1", version=2)
        await world.service.pump()
        assert len(await world.messages("b1")) == 1


async def test_a_debt_in_doubt_is_left_alone_until_the_doubt_is_over(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.profile("b1")
        await world.fact("b1", doubt=Doubt(since=MORNING, parked=("e1",)))
        await world.request("b1")
        await world.service.pump()
        assert (await world.delivery("b1"))["reason"] == "in_doubt"
        await world.fact("b1", version=2)
        await world.service.pump()
        assert len(await world.messages("b1")) == 1


async def test_a_payment_under_way_lets_contacts_rest_until_its_moment(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.profile("b1")
        await world.fact("b1", resting_until=MORNING + timedelta(hours=2))
        await world.request("b1")
        await world.service.pump()
        assert await world.messages("b1") == []
        await world.pass_to(MORNING + timedelta(hours=2, minutes=1))
        assert len(await world.messages("b1")) == 1


async def test_an_older_fact_changes_nothing(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.profile("b1")
        await world.fact("b1", overdue=0, version=5)
        await world.fact("b1", overdue=12050, version=4)
        await world.request("b1")
        await world.service.pump()
        assert await world.messages("b1") == []


async def test_a_reminder_names_what_is_due_next(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.profile("b1", locale="zh-CN")
        due = NextDue(n=2, due_on=MORNING.date() + timedelta(days=3), total=8000)
        await world.fact("b1", overdue=0, next_due=due)
        await world.request("b1", purpose="reminder", template="due_soon")
        await world.service.pump()
        [message] = await world.messages("b1")
        assert "CNY 80.00" in message["body"]
        assert "2026-11-27" in message["body"]
        assert "您好" in message["body"]


@pytest.mark.parametrize(("first", "state"), [("refuse", "delivered"), ("unknown", "unknown"), ("notsent", "pending")])
async def test_what_the_first_channel_says_decides_about_the_second(databases: Databases, first: str, state: str) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", addresses={"email": f"{first}@example.org", "sms": "+8613800000001"})
        await world.request("b1", channels=("email", "sms"))
        await world.service.pump()
        assert (await world.delivery("b1"))["state"] == state
        assert [m["channel"] for m in await world.messages("b1")] == {"refuse": ["sms"], "unknown": ["email"], "notsent": []}[first]


async def test_what_was_not_sent_is_tried_again_and_what_is_unknown_never(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("again", addresses={"email": "notsent@example.org"})
        await world.late_borrower("never", addresses={"email": "unknown@example.org"})
        for borrower in ("again", "never"):
            await world.request(borrower, channels=("email",))
        for _ in range(4):
            await world.pass_to(world.clock.now() + timedelta(minutes=10))
        assert (await world.delivery("again"))["sequence"] == 0
        assert (await world.delivery("again"))["attempts"][0]["turn"] == 4
        assert len(await world.messages("never")) == 1
        assert world.outcomes("never") == ["unknown"]


async def test_when_every_channel_refuses_the_contact_has_failed(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", addresses={"email": "refuse@example.org", "push": "refuse"})
        await world.request("b1", channels=("push", "email"))
        await world.service.pump()
        assert world.outcomes("b1") == ["failed"]
        assert [a["result"] for a in (await world.delivery("b1"))["attempts"]] == ["refused", "refused"]


async def test_a_borrower_without_an_address_on_any_channel_is_reported(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", addresses={"push": "token"})
        await world.request("b1", channels=("sms", "email"))
        await world.service.pump()
        assert (world.outcomes("b1"), world.told[0].data.reason) == (["failed"], "no_address")


async def test_an_erased_borrower_is_not_contacted_and_his_key_is_gone(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        await world.request("b1")
        await world.erase("b1")
        await world.service.pump()
        assert await world.messages("b1") == []
        assert world.told[0].data.reason == "erased"
        assert await world.scalar("select count(*) from notifier.borrowers where key is not null") == 0


async def test_a_text_that_cannot_be_made_sets_its_delivery_aside_and_the_rest_goes_on(databases: Databases) -> None:
    async with a_world(databases) as world:
        for borrower in ("b1", "b2"):
            await world.late_borrower(borrower)
        await world.request("b1", template="no-such")
        await world.request("b2")
        await world.service.pump()
        assert (world.outcomes("b1"), world.outcomes("b2")) == (["failed"], ["sent", "delivered"])
        assert (await world.delivery("b1"))["reason"] == "in_doubt"


async def test_no_address_stands_readable_in_any_table(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", addresses={"sms": "+8613800009999", "email": "li.wei@example.org"})
        await world.request("b1")
        await world.service.pump()
        assert len(await world.messages("b1")) == 1
        assert await _tables_with(world, ["8613800009999", "li.wei", "Li Wei"]) == []


async def _tables_with(world: World, secrets: list[str]) -> list[str]:
    async with world.engine.connect() as conn:
        from sqlalchemy import text  # noqa: PLC0415  # used only here

        names = (
            await conn.execute(text("select relname from pg_class c where relnamespace = 'notifier'::regnamespace and relkind = 'r'"))
        ).scalars()
        found = []
        for name in list(names):
            rows = (await conn.execute(text(f"select * from notifier.{name}"))).all()
            found += [name for secret in secrets if any(secret in str(_plain(value)) for row in rows for value in row)]
        return found


def _plain(value: object) -> object:
    return bytes(value).decode("latin-1") if isinstance(value, bytes | memoryview) else value
