"""The notifier over HTTP: deliveries, contacts, the switch, the sandbox, the gate."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from libs.common.auth import Principal, add_key
from libs.common.contracts.contact_tasks import PolicyRef
from tests.integration.notifier.world import MORNING, NIGHT, World, a_world
from tests.support.postgres import Databases

CASES = json.loads((Path(__file__).parents[2] / "unit" / "compliance" / "conformance.json").read_text())


async def turn(world: World, contacts: str, scope: str = "all", **more: str) -> Any:
    answer = await world.call("PUT", "/v1/switch", json={"scope": scope, "contacts": contacts, "reason": "a drill", **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_delivery_shows_its_rules_and_attempts(databases: Databases) -> None:
    async with a_world(databases, at=NIGHT) as world:
        await world.late_borrower("b1")
        await world.request("b1")
        await world.service.pump()
        waiting = await world.delivery("b1")
        assert waiting["decisions"][0]["decision"] == "deny"
        assert waiting["decisions"][0]["rules"][0]["cite"].startswith("example pack ZZ")
        await world.pass_to(NIGHT + timedelta(hours=8))
        sent = await world.delivery("b1")
        assert (sent["state"], sent["channel"], sent["policy"]) == ("delivered", "sms", {"name": "standard", "version": 1})
        assert [attempt["result"] for attempt in sent["attempts"]] == ["accepted"]


async def test_a_delivery_shows_what_its_parts_cost_by_the_price_of_that_moment(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        await world.request("b1")
        await world.service.pump()
        unpriced = await world.delivery("b1")
        parts = unpriced["attempts"][0]["parts"]
        assert (parts >= 1, unpriced["cost"], unpriced["attempts"][0]["cost"]) == (True, None, None)
        for version, millionths in (("0", 45_000), ("1", 60_000)):
            world.clock.move_to(world.clock.now() + timedelta(minutes=1))
            price = {"sms_part_price": {"millionths": millionths, "currency": "CNY"}}
            assert (await world.call("PUT", "/v1/settings", json=price, headers={"If-Match": f'"{version}"'})).status_code == 200
            await world.late_borrower(f"b-{version}")
            await world.request(f"b-{version}")
            await world.pass_to(world.clock.now() + timedelta(minutes=1))
        for version, millionths in (("0", 45_000), ("1", 60_000)):
            shown = await world.delivery(f"b-{version}")
            cost = {"millionths": parts * millionths, "amount": -(-parts * millionths // 10_000), "currency": "CNY"}
            assert (shown["cost"], shown["attempts"][0]["cost"]) == (cost, cost)
        assert (await world.delivery("b1"))["cost"] is None


async def test_only_sms_that_were_taken_have_parts_and_a_cost(databases: Databases) -> None:
    async with a_world(databases) as world:
        price = {"sms_part_price": {"millionths": 45_000, "currency": "CNY"}}
        assert (await world.call("PUT", "/v1/settings", json=price, headers={"If-Match": '"0"'})).status_code == 200
        await world.late_borrower("b1", addresses={"email": "li@example.com"})
        await world.request("b1", channels=("email",))
        await world.service.pump()
        sent = await world.delivery("b1")
        assert [(one["result"], one["parts"], one["cost"]) for one in sent["attempts"]] == [("accepted", None, None)]
        assert sent["cost"] is None


async def test_deliveries_are_found_by_borrower_case_and_state(databases: Databases) -> None:
    async with a_world(databases) as world:
        for borrower in ("b1", "b2"):
            await world.late_borrower(borrower)
            await world.request(borrower)
        await world.cancel("b2")
        await world.request("b2", "t-later", not_before=world.clock.now() + timedelta(hours=1))
        await world.service.pump()
        for params, tasks in (
            ({"borrower_id": "b1"}, ["t-b1"]),
            ({"case_id": "c-b2"}, ["t-b2", "t-later"]),
            ({"state": "delivered"}, ["t-b1"]),
            ({"state": "pending"}, ["t-later"]),
            ({}, ["t-b1", "t-b2", "t-later"]),
        ):
            found = await world.get("/v1/deliveries", **params)
            assert [item["task_id"] for item in found["items"]] == tasks
        first = await world.get("/v1/deliveries", limit="1")
        rest = await world.get("/v1/deliveries", cursor=first["next"])
        assert [item["task_id"] for item in rest["items"]] == ["t-b2", "t-later"]


async def test_the_ledger_of_a_borrower_explains_each_contact(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        await world.request("b1")
        await world.service.pump()
        [contact] = (await world.get("/v1/borrowers/b1/contacts"))["items"]
        assert (contact["channel"], contact["result"], contact["loans"]) == ("sms", "delivered", ["loan-b1"])
        assert contact["decision"]["packs"] == {"ZZ": "2026.11"}
        assert contact["decision"]["facts"] == {"loan-b1": [1, 1]}


async def test_what_is_unknown_is_not_found(databases: Databases) -> None:
    async with a_world(databases) as world:
        for path in ("/v1/deliveries/none", "/v1/borrowers/none/contacts", "/v1/compliance/packs/none"):
            answer = await world.call("GET", path)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_another_tenant_sees_nothing(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        await world.request("b1")
        await world.service.pump()
        async with world.engine.begin() as conn:
            await add_key(conn, "notifier", "dw_other", Principal("other", None, frozenset({"contacts:read"})))
        headers = {"Authorization": "Bearer dw_other"}
        for path in ("/v1/deliveries", "/v1/sandbox/messages"):
            assert (await world.call("GET", path, headers=headers)).json()["items"] == []
        for path in ("/v1/deliveries/t-b1", "/v1/borrowers/b1/contacts"):
            assert (await world.call("GET", path, headers=headers)).status_code == 404
        assert (await world.call("PUT", "/v1/switch", headers=headers, json={})).status_code == 403


@pytest.mark.parametrize("more", [{}, {"scope": "tenant"}, {"scope": "channel", "key": "sms"}])
async def test_the_switch_stops_contacts_and_lets_them_go_on(databases: Databases, more: dict[str, str]) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        await world.request("b1")
        await turn(world, "off", **more)
        for seconds in range(3):
            await world.pass_to(MORNING + timedelta(seconds=10 * seconds))
        assert await world.messages("b1") == []
        assert [told.data.reason for told in world.told] == ["switched_off"]
        await turn(world, "on", **more)
        await world.pass_to(MORNING + timedelta(minutes=1))
        assert len(await world.messages("b1")) == 1


async def test_a_channel_that_is_off_leaves_the_next_one(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", addresses={"sms": "+8613800000001", "email": "b1@example.org"})
        await turn(world, "off", "channel", key="sms")
        await world.request("b1")
        await world.service.pump()
        assert [message["channel"] for message in await world.messages("b1")] == ["email"]


async def test_shadow_decides_and_records_and_sends_nothing(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        await turn(world, "shadow")
        await world.request("b1")
        await world.service.pump()
        assert await world.messages("b1") == []
        shown = await world.delivery("b1")
        assert (shown["state"], shown["reason"], shown["decisions"][0]["decision"]) == ("suppressed", "shadow", "allow")


@pytest.mark.parametrize("contacts", ["off", "shadow"])
@pytest.mark.parametrize(
    ("scope", "key", "changes"),
    [
        ("policy", "other", {"policy": PolicyRef(name="other", version=4)}),
        ("policy", "other@4", {"policy": PolicyRef(name="other", version=4)}),
        ("step", "firm", {"step": "firm"}),
        ("step", "standard/firm", {"step": "firm"}),
        ("template", "final", {"template": "final"}),
        ("region", "CN", {"jurisdictions": ("CN",)}),
        ("channel", "email", {"channels": ("email",)}),
    ],
)
async def test_a_contact_in_the_scope_of_the_switch_stays_silent_and_another_goes(
    databases: Databases, contacts: str, scope: str, key: str, changes: dict[str, Any]
) -> None:
    async with a_world(databases) as world:
        for borrower in ("b1", "b2"):
            await world.late_borrower(borrower, addresses={"sms": f"+861380000000{borrower[1]}", "email": f"{borrower}@example.org"})
        await turn(world, contacts, scope, key=key)
        await world.request("b1", **changes)
        await world.request("b2")
        await world.service.pump()
        assert (await world.messages("b1"), len(await world.messages("b2"))) == ([], 1)
        silent = await world.delivery("b1")
        expected = ("pending", "switched_off") if contacts == "off" else ("suppressed", "shadow")
        assert (silent["state"], silent["reason"]) == expected
        if contacts == "off" and scope != "region":
            await turn(world, "on", scope, key=key)
            await world.pass_to(MORNING + timedelta(minutes=1))
            assert len(await world.messages("b1")) == 1


async def test_a_turn_of_the_switch_tells_what_waits_of_what_it_names_and_is_never_refused(databases: Databases) -> None:
    async with a_world(databases, at=NIGHT) as world:
        for borrower in ("b1", "b2"):
            await world.late_borrower(borrower)
            await world.request(borrower)
        await world.cancel("b2")
        await world.service.pump()
        said = [await turn(world, "off", scope, key=key) for scope, key in (("step", "gentle"), ("step", "gentel"), ("channel", "sms"))]
        assert [one["waiting"] for one in said] == [{"concerned": 1, "of": 1}, {"concerned": 0, "of": 1}, None]
        assert ["did you mean 'gentle'?" in (one["hint"] or "") for one in said] == [False, True, False]
        assert "did you mean 'gentle' or 'gentel'?" in (await turn(world, "on", "step", key="gentl"))["hint"]


async def test_a_region_that_is_off_stops_people_there_too(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        await turn(world, "off", "region", key="CN")
        asked = {"borrower_id": "b1", "debt": "loan-b1", "channel": "call", "by": "wu"}
        assert (await world.call("POST", "/v1/contacts:authorize", json=asked)).json()["decision"] == "allow"
        await turn(world, "off", "region", key="ZZ")
        said = (await world.call("POST", "/v1/contacts:authorize", json=asked)).json()
        assert (said["decision"], said["rules"][0]["rule"]) == ("deny", "switched_off")


async def test_every_position_of_the_switch_is_shown(databases: Databases) -> None:
    async with a_world(databases) as world:
        await turn(world, "off", "region", key="BR-SP")
        await turn(world, "shadow", "policy", key="standard@2")
        shown = [(one["scope"], one["key"], one["contacts"]) for one in (await world.get("/v1/switch"))["items"]]
        assert shown == [("policy", "standard@2", "shadow"), ("region", "BR-SP", "off")]


@pytest.mark.parametrize(
    "body",
    [
        {"scope": "channel"}, {"scope": "all", "key": "sms"}, {"scope": "none"}, {"scope": "channel", "key": "fax"},
        {"scope": "region", "key": "XX"}, {"scope": "region"}, {"scope": "policy"}, {"scope": "step", "key": "a b"}, {"scope": "template"},
        {"scope": "tenant", "key": "default"},
    ],
)  # fmt: skip
async def test_a_switch_that_makes_no_sense_is_refused(databases: Databases, body: dict[str, str]) -> None:
    async with a_world(databases) as world:
        answer = await world.call("PUT", "/v1/switch", json={"contacts": "off", "reason": "r", **body})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_sandbox_messages_are_found_by_address_and_moment_oldest_first(databases: Databases) -> None:
    async with a_world(databases) as world:
        for i, borrower in enumerate(("b1", "b2")):
            world.clock.advance(timedelta(seconds=i))
            await world.late_borrower(borrower, addresses={"sms": f"+861380000000{i}"})
            await world.request(borrower)
            await world.service.pump()
        assert [m["borrower_id"] for m in await world.messages()] == ["b1", "b2"]
        assert [m["borrower_id"] for m in await world.messages(to="+8613800000001")] == ["b2"]
        assert [m["borrower_id"] for m in await world.messages(since=(MORNING + timedelta(seconds=1)).isoformat())] == ["b2"]
        first = await world.get("/v1/sandbox/messages", limit="1")
        assert [m["borrower_id"] for m in await world.messages(cursor=first["next"])] == ["b2"]


async def test_the_check_answers_the_worked_cases_of_the_contract(databases: Databases) -> None:
    async with a_world(databases) as world:
        wrong = []
        for case in CASES:
            answer = await world.call("POST", "/v1/compliance/check", json=case["request"])
            assert answer.status_code == 200, answer.text
            said, expected = answer.json(), case["expect"]
            if (said["decision"], said["earliest"]) != (expected["decision"], expected.get("earliest")):
                wrong.append((case["id"], said, expected))
        assert wrong == []


async def test_a_check_that_cannot_be_read_is_refused_with_the_reason(databases: Databases) -> None:
    async with a_world(databases) as world:
        for body in ("[]", '{"jurisdictions": ["ZZ"], "proposed": {"at": "2027-02-07T12:00:00", "channel": "sms"}}'):
            answer = await world.call("POST", "/v1/compliance/check", content=body)
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_packs_are_listed_and_shown_with_their_citations(databases: Databases) -> None:
    async with a_world(databases) as world:
        listed = (await world.get("/v1/compliance/packs"))["items"]
        assert "ZZ" in [pack["id"] for pack in listed]
        shown = await world.get("/v1/compliance/packs/ZZ")
        assert shown["rules"][0]["cite"].startswith("example pack ZZ")


async def test_the_service_says_whether_it_is_ready_and_what_it_counts(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        await world.request("b1", jurisdictions=("TH",))
        await world.service.pump()
        assert (await world.call("GET", "/readyz")).status_code == 200
        text = (await world.call("GET", "/metrics")).text
        assert 'dunwell_contact_results_total{channel="sms",fault="none",provider="sandbox",result="accepted"} 1.0' in text
        assert 'dunwell_sends_past_payment_total{kind="aware"} 0.0' in text
        assert 'dunwell_holidays_end_timestamp_seconds{pack="TH"}' in text
        assert 'dunwell_timer_lateness_seconds_count{kind="delivery"} 1.0' in text


async def test_a_body_that_is_no_json_is_a_problem_of_its_own_wherever_it_is_sent(databases: Databases) -> None:
    async with a_world(databases) as world:
        for method, path in (
            ("PUT", "/v1/switch"), ("PUT", "/v1/providers/one"), ("PUT", "/v1/settings"), ("POST", "/v1/compliance/check"),
        ):  # fmt: skip
            headers = {"Content-Type": "application/json", "If-Match": "*"}
            for body in (b"", b"{", b"\xff"):
                answer = await world.call(method, path, content=body, headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (400, "not_json"), (path, body)
            assert (await world.call(method, path, content=b'"all"', headers=headers)).status_code == 422, path
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await world.call("PUT", "/v1/switch", content=b'{"scope": "all"}', headers=form)
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
        assert "application/json" in answer.json()["detail"]
