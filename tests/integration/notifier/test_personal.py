"""The contact book over HTTP: open to those with access, masked for others, and every read recorded."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest

from libs.common.auth import Principal, add_key
from tests.integration.notifier.world import MORNING, SCOPES, TENANT, World, a_world
from tests.support.postgres import Databases

PHONE, EMAIL = "+8613800001234", "li.wei@example.org"
NOW = MORNING.isoformat().replace("+00:00", "Z")


async def as_another(world: World, *without: str, tenant: str = TENANT) -> dict[str, str]:
    """Return the header with a key that lacks scopes."""
    async with world.engine.begin() as conn:
        await add_key(conn, "notifier", "dw_other", Principal(tenant, "otto", SCOPES - set(without)))
    return {"Authorization": "Bearer dw_other"}


async def lookup(world: World, channel: str, address: str, **more: Any) -> httpx.Response:
    return await world.call("POST", "/v1/borrowers:lookup", json={"channel": channel, "address": address, **more})


async def reads(world: World, **params: str) -> list[tuple[str | None, str, str, str | None]]:
    items = (await world.get("/v1/pii-reads", **params))["items"]
    return [(one["borrower_id"], one["what"], one["by"], one["reason"]) for one in items]


async def test_an_entry_is_opened_for_those_who_may_read_it_and_the_reading_is_kept(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", addresses={"sms": PHONE, "email": EMAIL})
        entry = await world.get("/v1/borrowers/b1", reason="asked by the borrower")
        assert (entry["name"], entry["masked"], entry["timezone"]) == ("Li Wei", False, "Asia/Shanghai")
        assert [one["address"] for one in entry["addresses"]] == [PHONE, EMAIL]
        [kept] = (await world.get("/v1/pii-reads", borrower_id="b1"))["items"]
        assert kept == {"borrower_id": "b1", "what": "profile", "by": "anna", "reason": "asked by the borrower", "at": NOW}


async def test_without_the_scope_it_is_masked_and_no_reading(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", addresses={"sms": PHONE, "email": EMAIL})
        await world.request("b1")
        await world.service.pump()
        headers = await as_another(world, "pii:read")
        entry = (await world.call("GET", "/v1/borrowers/b1", headers=headers)).json()
        assert (entry["name"], entry["masked"]) == ("L. W.", True)
        assert [one["address"] for one in entry["addresses"]] == ["+86 138 **** 1234", "l****@example.org"]
        [message] = (await world.call("GET", "/v1/sandbox/messages", headers=headers)).json()["items"]
        assert (message["to"], message["subject"], message["body"], message["html"]) == ("+86 138 **** 1234", None, None, None)
        assert (
            await world.call("POST", "/v1/borrowers:lookup", json={"channel": "sms", "address": PHONE}, headers=headers)
        ).status_code == 403
        assert await reads(world) == []


async def test_whoever_reads_messages_of_the_sandbox_is_written_down_for_every_borrower(databases: Databases) -> None:
    async with a_world(databases) as world:
        for borrower in ("b1", "b2"):
            await world.late_borrower(borrower)
            await world.request(borrower)
        await world.service.pump()
        assert "Li Wei" in (await world.messages("b1"))[0]["body"]
        assert await reads(world) == [("b1", "sandbox_messages", "anna", None)]
        assert len(await world.messages(reason="a trial")) == 2
        assert await reads(world, borrower_id="b2") == [("b2", "sandbox_messages", "anna", "a trial")]
        assert await world.messages("nobody") == []
        assert len(await reads(world)) == 3


async def test_an_address_finds_its_borrowers_however_it_is_written_and_whoever_asked_is_written_down(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.profile("b2", addresses={"sms": PHONE})
        await world.profile("b1", addresses={"sms": PHONE, "email": EMAIL})
        found = await lookup(world, "call", "+86 138 0000 1234", reason="a call came in")
        assert found.json() == {"items": ["b1", "b2"], "next": None}
        assert (await lookup(world, "email", "Li.Wei@example.org")).json()["items"] == ["b1"]
        assert (await lookup(world, "email", "nobody@example.org")).json()["items"] == []
        assert await reads(world) == [
            (None, "lookup", "anna", None), ("b1", "lookup", "anna", None), ("b2", "lookup", "anna", "a call came in"),
            ("b1", "lookup", "anna", "a call came in"),
        ]  # fmt: skip


async def test_an_address_that_is_given_up_finds_nobody(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.profile("b1", addresses={"sms": PHONE})
        world.clock.advance(timedelta(seconds=1))
        await world.profile("b1", addresses={"email": EMAIL})
        assert (await lookup(world, "sms", PHONE)).json()["items"] == []
        assert (await lookup(world, "email", EMAIL)).json()["items"] == ["b1"]


async def test_readings_are_shown_a_page_at_a_time_to_operators_alone(databases: Databases) -> None:
    async with a_world(databases) as world:
        for borrower in ("b1", "b2", "b3"):
            await world.profile(borrower)
            await world.get(f"/v1/borrowers/{borrower}")
        first = await world.get("/v1/pii-reads", limit="2")
        assert [one["borrower_id"] for one in first["items"]] == ["b3", "b2"]
        assert [one["borrower_id"] for one in (await world.get("/v1/pii-reads", cursor=first["next"]))["items"]] == ["b1"]
        headers = await as_another(world, "ops")
        assert (await world.call("GET", "/v1/pii-reads", headers=headers)).status_code == 403


async def test_another_tenant_sees_nothing_of_it(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.profile("b1", addresses={"sms": PHONE})
        await world.get("/v1/borrowers/b1")
        headers = await as_another(world, tenant="elsewhere")
        for path in ("/v1/borrowers/b1", "/v1/borrowers/b1/preferences"):
            assert (await world.call("GET", path, headers=headers)).status_code == 404
        assert (await world.call("GET", "/v1/pii-reads", headers=headers)).json()["items"] == []
        found = await world.call("POST", "/v1/borrowers:lookup", json={"channel": "sms", "address": PHONE}, headers=headers)
        assert found.json()["items"] == []


@pytest.mark.parametrize(
    ("addresses", "digits", "recognised"),
    [
        ({"sms": PHONE}, "1234", True), ({"sms": "+86 138-0000 12 34"}, "1234", True),
        ({"call": PHONE, "sms": "+8613800009999"}, "9999", True), ({"sms": PHONE}, "1235", False), ({"sms": PHONE}, "0123", False),
        ({"email": "1234"}, "1234", False), ({"sms": "234"}, "1234", False),
    ],
)  # fmt: skip
async def test_a_borrower_is_recognised_by_the_end_of_any_phone_and_nothing_is_shown_or_read(
    databases: Databases, addresses: dict[str, str], digits: str, *, recognised: bool
) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", addresses=addresses)
        answer = await world.call("POST", "/v1/borrowers/b1:recognise", json={"phone_ends_with": digits})
        assert (answer.status_code, answer.json()) == (200, {"recognised": recognised})
        assert await reads(world) == []


async def test_nobody_is_recognised_who_is_erased_unknown_or_another_tenants(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", addresses={"sms": PHONE})
        asked = {"phone_ends_with": "1234"}
        for tenant, without, status in (("other", "", 404), (TENANT, "contacts:read", 403)):
            headers = await as_another(world, without, tenant=tenant)
            assert (await world.call("POST", "/v1/borrowers/b1:recognise", json=asked, headers=headers)).status_code == status
            world.service.app.state.keys._cache.clear()  # keys are cached for 15 s, which nobody waits for here
        assert (await world.call("POST", "/v1/borrowers/b9:recognise", json=asked)).status_code == 404
        for wrong in ("123", "12345", "12a4", "1234\n", ""):
            assert (await world.call("POST", "/v1/borrowers/b1:recognise", json={"phone_ends_with": wrong})).status_code == 422
        world.clock.advance(timedelta(seconds=1))
        await world.erase("b1")
        assert (await world.call("POST", "/v1/borrowers/b1:recognise", json=asked)).json() == {"recognised": False}
