"""`/v1/settings` of all three services, and what the notifier's gate makes of them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.e2e.conftest import world as world  # noqa: PLC0414  # the fixture
from tests.e2e.world import World, borrower, late_loan

SERVICES = ("ingest", "scheduler", "notifier")


async def put(world: World, service: str, body: dict[str, Any], tag: str | None = '"0"', key: str = "dunwell-dev") -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"} | ({"If-Match": tag} if tag is not None else {})
    return await world.http.put(f"/{service}/v1/settings", json=body, headers=headers)


async def test_in_every_service_settings_have_versions_and_say_who_set_them_when(world: World) -> None:
    for service in SERVICES:
        empty = await world.http.get(f"/{service}/v1/settings")
        assert (empty.headers["ETag"], empty.json()["version"], empty.json()["settings"]["webhooks"]) == ('"0"', 0, [])
        assert (await put(world, service, {}, tag=None)).status_code == 428
        first = await put(world, service, {})
        assert (first.status_code, first.headers["ETag"], first.json()["by"]) == (200, '"1"', "dev")
        stale = await put(world, service, {})
        assert (stale.status_code, stale.json()["code"], stale.headers["ETag"]) == (412, "changed_meanwhile", '"1"')
        assert (await put(world, service, {}, '"1"', key="dunwell-dev-2")).status_code == 200
        history = await world.get(f"/{service}/v1/settings/history", limit=1)
        rest = await world.get(f"/{service}/v1/settings/history", cursor=history["next"])
        assert [(one["version"], one["by"]) for one in history["items"] + rest["items"]] == [(2, "dev-2"), (1, "dev")]
        assert rest["next"] is None


@pytest.mark.parametrize(
    ("service", "body", "place"),
    [
        ("ingest", {"brand": {"name": "x"}}, "brand"),
        ("scheduler", {"profile": "strict"}, "profile"),
        ("notifier", {"brand": {"name": "x", "colour": "red"}}, "$.brand"),
        ("notifier", {"default_zone": "Asia/Shanghai"}, "default_zone"),
        ("notifier", {"profile": "none"}, "$.profile"),
        ("notifier", {"role": "friend"}, "$.role"),
        ("notifier", {"tenant_hours": {"mon": "20:00-08:00"}}, "tenant_hours"),
        ("notifier", {"tenant_hours": {"someday": "08:00-20:00"}}, "tenant_hours"),
        ("notifier", {"tenant_hours": {}}, "tenant_hours"),
    ],
)
async def test_what_a_service_does_not_use_or_cannot_read_is_refused_with_its_place(
    world: World, service: str, body: dict[str, Any], place: str
) -> None:
    refused = await put(world, service, body)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_settings")
    assert place in refused.json()["detail"]


async def test_a_tenants_hours_hold_back_what_the_law_would_let_out(world: World) -> None:
    await put(world, "notifier", {"tenant_hours": {"every": "15:00-18:00"}})
    await world.publish(*borrower("B1"), late_loan("L1", "B1"))
    await world.let_pass(hours=1)
    assert await world.messages() == []
    [waiting] = (await world.get("/notifier/v1/deliveries"))["items"]
    assert waiting["decisions"][0]["rules"][0]["cite"] == "tenant hours"
    assert (await put(world, "notifier", {}, '"1"')).status_code == 200


async def test_without_hours_of_the_tenant_the_same_goes_out(world: World) -> None:
    await put(world, "notifier", {"profile": "strict", "role": "first_party"})
    await world.publish(*borrower("B1"), late_loan("L1", "B1"))
    await world.let_pass(hours=1)
    assert len(await world.messages()) == 1
