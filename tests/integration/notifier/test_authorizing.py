"""Contacts that people make: a yes holds a slot in the caps, and of two requests for the last slot one is denied."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from libs.compliance import Packs, load_packs
from libs.compliance.packs import parse_pack
from services.notifier.service import Options
from services.notifier.store import borrowers, contacts, known
from tests.integration.notifier.world import MORNING, NIGHT, PATIENCE_S, TENANT, World, a_fact, a_world, loan_of
from tests.support.postgres import Databases
from tests.support.running import until

PHONE = "+8613800000001"
RULES = """
id: TT
name: A country with caps, for these tests
version: "1"
verified: not law; an invented country
sandbox_only: true
zones: []
rules:
- {id: tt-cap, kind: cap, nature: law, cite: "test", evidence: product_default, channels: [any],
   limit: 1, unit: UNIT, reach: {rolling_calendar_days: 7}, scope: SCOPE}
"""


def packs(scope: str = "person", unit: str = "dial") -> Packs:
    return Packs({**load_packs().by_id, "TT": parse_pack(RULES.replace("SCOPE", scope).replace("UNIT", unit), "TT.yaml")})


def options(scope: str = "person", unit: str = "dial") -> Options:
    return Options(packs=packs(scope, unit))


async def authorize(world: World, borrower: str = "b1", *, key: str | None = None, **changes: Any) -> dict[str, Any]:
    wanted = {"borrower_id": borrower, "debt": loan_of(borrower), "channel": "call", "by": "wu", **changes}
    answer = await world.call("POST", "/v1/contacts:authorize", json=wanted, headers={"Idempotency-Key": key} if key else {})
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


def rules_of(said: dict[str, Any]) -> list[str]:
    return [rule["rule"] for rule in said["rules"]]


async def late(world: World, *names: str, **changes: Any) -> None:
    for name in names:
        await world.late_borrower(name, jurisdictions=("TT",), **changes)


async def test_a_yes_has_the_shape_of_the_check_and_holds_a_slot(databases: Databases) -> None:
    async with a_world(databases, options=options()) as world:
        await late(world, "b1")
        said = await authorize(world)
        assert (said["decision"], said["earliest"], said["rules"], said["packs"]["TT"]) == ("allow", None, [], "1")
        assert said["reservation"]["until"] == (MORNING + timedelta(minutes=15)).isoformat().replace("+00:00", "Z")
        [held] = (await world.get("/v1/borrowers/b1/contacts"))["items"]
        assert (held["contact_id"], held["result"], held["by"]) == (said["reservation"]["id"], "reserved", "wu")
        assert held["decision"]["facts"] == {"loan-b1": [1, 1]}
        second = await authorize(world)
        assert (second["decision"], rules_of(second), second["rules"][0]["cite"], second["rules"][0]["kind"]) == (
            "deny", ["tt-cap"], "test", "cap",
        )  # fmt: skip
        assert "reservation" not in second


async def test_a_slot_that_nobody_used_lapses_after_fifteen_minutes(databases: Databases) -> None:
    async with a_world(databases, options=options()) as world:
        await late(world, "b1")
        await authorize(world)
        world.clock.advance(timedelta(minutes=15) - timedelta(seconds=1))
        await world.fresh_watermarks()
        assert (await authorize(world))["decision"] == "deny"
        world.clock.advance(timedelta(seconds=1))
        assert (await authorize(world))["decision"] == "allow"
        held = (await world.get("/v1/borrowers/b1/contacts"))["items"]
        assert [one["result"] for one in held] == ["lapsed", "reserved"]


async def test_while_one_person_may_be_talking_no_other_is_let_call_where_a_talk_is_followed_by_rest(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", jurisdictions=("US-FED-REGF",))
        assert (await authorize(world))["decision"] == "allow"
        assert rules_of(await authorize(world)) == ["regf-conversation-cooloff"]
        await world.pass_to(MORNING + timedelta(minutes=16))
        assert (await authorize(world))["decision"] == "allow"


async def test_a_slot_ends_with_the_hours_in_which_the_contact_may_be_made(databases: Databases) -> None:
    ten_in_the_evening = MORNING + timedelta(hours=12)
    async with a_world(databases, at=ten_in_the_evening - timedelta(minutes=5)) as world:
        await world.late_borrower("b1")
        assert (await authorize(world))["reservation"]["until"] == ten_in_the_evening.isoformat().replace("+00:00", "Z")


async def test_the_same_idempotency_key_is_the_same_slot(databases: Databases) -> None:
    async with a_world(databases, options=options()) as world:
        await late(world, "b1")
        first, again = await authorize(world, key="k1"), await authorize(world, key="k1")
        assert again == first
        assert (await authorize(world, key="k2"))["decision"] == "deny"
        other = {"borrower_id": "b1", "debt": "loan-b1", "channel": "visit", "by": "wu"}
        answer = await world.call("POST", "/v1/contacts:authorize", json=other, headers={"Idempotency-Key": "k1"})
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("named", [True, False])
async def test_the_contact_that_is_recorded_stands_in_the_place_of_its_slot(databases: Databases, named: bool) -> None:
    async with a_world(databases, options=options(unit="contact")) as world:
        await late(world, "b1", addresses={"call": PHONE})
        said = await authorize(world, to=PHONE)
        contact = said["reservation"]["id"] if named else "call-1"
        world.clock.advance(timedelta(minutes=3))
        await world.fresh_watermarks()
        for _ in range(2):
            await world.recorded("b1", contact, result="no_answer")
        assert (await authorize(world))["decision"] == "allow"
        shown = {one["contact_id"]: one for one in (await world.get("/v1/borrowers/b1/contacts"))["items"]}
        assert shown[contact]["result"] == "no_answer"
        assert shown[contact]["decision"]["decision"] == "allow"
        assert shown[said["reservation"]["id"]]["result"] == ("no_answer" if named else "cancelled")


async def test_a_conversation_that_is_recorded_counts_once_and_its_slot_no_more(databases: Databases) -> None:
    async with a_world(databases, options=options(unit="contact")) as world:
        await late(world, "b1")
        await authorize(world)
        await world.recorded("b1", "call-1", result="conversation")
        await world.fresh_watermarks(world.clock.now() + timedelta(hours=1))
        world.clock.advance(timedelta(hours=1))
        assert rules_of(await authorize(world)) == ["tt-cap"]


async def test_a_record_that_is_repeated_takes_no_second_slot(databases: Databases) -> None:
    async with a_world(databases, options=options(unit="contact")) as world:
        await late(world, "b1")
        await authorize(world)
        await world.recorded("b1", "call-1", result="no_answer")
        await authorize(world)
        await world.recorded("b1", "call-1", result="no_answer")
        assert (await authorize(world))["decision"] == "deny"


@pytest.mark.parametrize("by_wallet", [True, False])
async def test_contacts_of_people_and_of_other_systems_count_in_the_caps_of_messages(databases: Databases, by_wallet: bool) -> None:
    async with a_world(databases, options=options()) as world:
        await late(world, "b1", "witness")
        await world.recorded("b1", "call-1", by_wallet=by_wallet)
        for borrower in ("b1", "witness"):
            await world.request(borrower)
        await world.service.pump()
        assert (await world.delivery("b1"))["reason"] == "tt-cap"
        assert len(await world.messages("witness")) == 1


async def test_a_slot_holds_back_a_message_and_a_message_a_slot(databases: Databases) -> None:
    async with a_world(databases, options=options()) as world:
        await late(world, "called", "texted")
        await authorize(world, "called")
        for borrower in ("called", "texted"):
            await world.request(borrower)
        await world.service.pump()
        assert (await world.delivery("called"))["reason"] == "tt-cap"
        assert len(await world.messages("texted")) == 1
        assert rules_of(await authorize(world, "texted")) == ["tt-cap"]
        await world.pass_to(MORNING + timedelta(minutes=16))
        assert len(await world.messages("called")) == 1, "the slot has lapsed"


async def held(world: World, borrower: str) -> None:
    await world.hold(borrower)


async def stopped(world: World, borrower: str) -> None:
    await world.status(borrower, "represented")


async def opted_out(world: World, borrower: str) -> None:
    await world.status(borrower, "opt_out")


async def paid(world: World, borrower: str) -> None:
    await world.fact(borrower, overdue=0, version=2)


async def paying(world: World, borrower: str) -> None:
    await world.fact(borrower, version=2, resting_until=world.clock.now() + timedelta(hours=5))


async def erased(world: World, borrower: str) -> None:
    world.clock.advance(timedelta(seconds=1))
    await world.erase(borrower)


async def switched_off(world: World, borrower: str) -> None:
    await world.call("PUT", "/v1/switch", json={"scope": "all", "contacts": "off", "reason": "r"})


async def shadowed(world: World, borrower: str) -> None:
    await world.call("PUT", "/v1/switch", json={"scope": "tenant", "contacts": "shadow", "reason": "r"})


async def stale(world: World, borrower: str) -> None:
    world.clock.advance(timedelta(minutes=2))


async def silent(world: World, borrower: str) -> None:
    await world.fresh_watermarks(stale_feeds=[TENANT])


async def not_wanted(world: World, borrower: str) -> None:
    await world.call("PUT", f"/v1/borrowers/{borrower}/preferences", json={"channels": {"never": ["call"]}})


async def night(world: World, borrower: str) -> None:
    world.clock.move_to(NIGHT)
    await world.fresh_watermarks()


@pytest.mark.parametrize(
    ("happens", "rule"),
    [
        (held, "stop-dispute"), (stopped, "stop-represented"), (opted_out, "stop-opt_out"), (paid, "paid"), (paying, "payment_pending"),
        (erased, "erased"), (switched_off, "switched_off"), (shadowed, "shadow"), (stale, "pipeline_stale"), (silent, "feed_stale"),
        (not_wanted, "borrower-channels"), (night, "zz-hours"),
    ],
)  # fmt: skip
async def test_whatever_would_stop_a_message_stops_a_person(databases: Databases, happens: Callable[..., Any], rule: str) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        assert (await authorize(world))["decision"] == "allow"
        await happens(world, "b1")
        said = await authorize(world)
        assert (said["decision"], rules_of(said)) == ("deny", [rule])
        assert said["rules"][0]["cite"]


async def test_only_the_borrowers_own_number_may_be_dialled_however_it_is_written(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", addresses={"sms": PHONE})
        assert rules_of(await authorize(world, to="+86 138 9999 9999")) == ["address_unknown"]
        assert (await authorize(world, to="0086 138-0000-0001"))["decision"] == "allow"
        assert (await authorize(world, channel="visit", to="1 Long Road"))["decision"] == "allow"


@pytest.mark.parametrize("more", [{}, {"call": "+8613800000002"}])
async def test_a_call_of_which_nobody_says_the_number_is_one_to_any_that_the_borrower_has(
    databases: Databases, more: dict[str, str]
) -> None:
    async with a_world(databases, options=options("number")) as world:
        await late(world, "b1", addresses={"sms": PHONE})
        await late(world, "b2", addresses={"sms": PHONE, **more})
        assert [(await authorize(world, name))["decision"] for name in ("b1", "b2")] == ["allow", "deny"]


async def test_a_rule_about_who_is_spoken_to_is_asked(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", jurisdictions=("ZZ", "US-MA"))
        mine, anothers = await authorize(world), await authorize(world, addressee="employer")
        assert set(rules_of(anothers)) > set(rules_of(mine))


@pytest.mark.parametrize(
    ("changes", "status"),
    [({"borrower_id": "nobody"}, 404), ({"channel": "sms"}, 422), ({"by": ""}, 422), ({"whom": "x"}, 422), ({"purpose": "fun"}, 422)],
)
async def test_what_cannot_be_asked_is_refused(databases: Databases, changes: dict[str, str], status: int) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        wanted = {"borrower_id": "b1", "debt": "loan-b1", "channel": "call", "by": "wu", **changes}
        assert (await world.call("POST", "/v1/contacts:authorize", json=wanted)).status_code == status


async def test_a_debt_nobody_has_heard_of_is_not_spoken_of(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        assert rules_of(await authorize(world, debt="other")) == ["facts_behind"]


async def test_of_two_people_for_the_last_slot_of_a_borrower_one_is_denied(databases: Databases) -> None:
    async with a_world(databases, options=options()) as world:
        await late(world, "b1")
        async with world.engine.begin() as third:
            await borrowers.lock(third, [(TENANT, "b1")])
            both = [asyncio.create_task(authorize(world, by=by)) for by in ("wu", "li")]
            await until(partial(world.scalar, "select count(*) = 2 from pg_locks where not granted"), "both to wait")
        said = await asyncio.wait_for(asyncio.gather(*both), PATIENCE_S)
        assert sorted(one["decision"] for one in said) == ["allow", "deny"]


async def test_of_two_people_for_the_last_slot_of_a_phone_one_is_denied(databases: Databases) -> None:
    async with a_world(databases, options=options("number")) as world:
        await late(world, "b1", "b2", addresses={"sms": PHONE})
        row = await _row_of(world)
        async with world.engine.begin() as third:
            await contacts.lock_caps(third, [row])
            both = [asyncio.create_task(authorize(world, name, to=PHONE)) for name in ("b1", "b2")]
            await until(partial(world.scalar, "select count(*) = 2 from pg_locks where not granted"), "both to wait")
        said = await asyncio.wait_for(asyncio.gather(*both), PATIENCE_S)
        assert sorted(one["decision"] for one in said) == ["allow", "deny"]


async def test_of_a_person_and_a_message_for_the_last_slot_of_a_phone_one_wins(databases: Databases) -> None:
    async with a_world(databases, options=options("number")) as world:
        await late(world, "called", "texted", addresses={"sms": PHONE})
        await world.request("texted")
        row = await _row_of(world)
        async with world.engine.begin() as third:
            await contacts.lock_caps(third, [row])
            calling = asyncio.create_task(authorize(world, "called", to=PHONE))
            sending = asyncio.ensure_future(world.service.pump())
            await until(partial(world.scalar, "select count(*) = 2 from pg_locks where not granted"), "both to wait")
        said, _ = await asyncio.wait_for(asyncio.gather(calling, sending), PATIENCE_S)
        sent = len(await world.messages("texted"))
        assert (said["decision"] == "allow") != (sent == 1)


async def test_a_payment_under_way_is_waited_for(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("payer")
        async with world.engine.begin() as payment:
            await borrowers.lock(payment, [(TENANT, "payer")])
            await known.keep_facts(payment, {(TENANT, "payer", "loan-payer"): a_fact("payer", overdue=0, version=2)})
            asking = asyncio.create_task(authorize(world, "payer"))
            await until(partial(world.scalar, "select count(*) > 0 from pg_locks where not granted"), "the question to wait")
        assert rules_of(await asyncio.wait_for(asking, PATIENCE_S)) == ["paid"]


async def _row_of(world: World) -> tuple[str, str, str]:
    """Return the row of the phone's counter, created by somebody else's contact."""
    await late(world, "before", addresses={"sms": PHONE})
    world.clock.advance(timedelta(seconds=1))
    await authorize(world, "before", to=PHONE)
    key = await world.scalar("select key from notifier.caps where scope = 'number'")
    world.clock.advance(timedelta(minutes=15))
    await world.fresh_watermarks()
    return TENANT, "number", key
