"""Providers over HTTP: configured, routed, really sent through to a fake on this machine, paused; secrets are never returned."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from libs.common.auth import Principal, add_key
from libs.compliance import Packs, load_packs
from libs.compliance.packs import parse_pack
from services.notifier.providers.codes import Meaning
from services.notifier.providers.fake.server import FakeProviders
from services.notifier.providers.fake.speaker import magic
from services.notifier.providers.wire import Account
from services.notifier.service import Options
from tests.integration.notifier.world import MORNING, World, a_world
from tests.support.postgres import Databases

CREDENTIALS = {"account_sid": "AC" + "0" * 32, "auth_token": "tok-secret"}
WEBHOOK = {"kind": "webhook", "credentials": {"secret": "aa=="}, "settings": {"url": "https://a.example"}, "base_url": None}
APNS = {"topic": "com.lender.wallet", "team_id": "DEF123GHIJ", "key_id": "ABC123DEFG"}
FAKES = {name: Account(name, "twilio", CREDENTIALS) for name in ("main", "second")}
REAL = "+12025550123"


OPEN = """
id: TT
name: A country without rules, for these tests
version: "1"
verified: not law; an invented country
zones: []
rules: []
"""


@asynccontextmanager
async def a_wired_world(databases: Databases, **changes: Any) -> AsyncIterator[tuple[World, FakeProviders]]:
    async with FakeProviders(FAKES).served() as fake, a_world(databases, options=open_packs(), fakes=True, **changes) as world:
        yield world, fake


def open_packs() -> Options:
    return Options(packs=Packs({**load_packs().by_id, "TT": parse_pack(OPEN, "TT.yaml")}))


def twilio(fake: FakeProviders, name: str = "main", **changes: Any) -> dict[str, Any]:
    base = f"{fake.origin}/{name}"
    return {"kind": "twilio", "credentials": CREDENTIALS, "settings": {"from": "+12025550100"}, "base_url": base, **changes}


async def put(world: World, name: str, body: Mapping[str, Any], status: int = 201) -> dict[str, Any]:
    answer = await world.call("PUT", f"/v1/providers/{name}", json=body)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def route(world: World, *items: dict[str, Any], status: int = 200) -> None:
    answer = await world.call("PUT", "/v1/routes", json={"items": list(items)})
    assert answer.status_code == status, answer.text


async def ask(world: World, borrower: str, to: str = REAL, **changes: Any) -> None:
    await world.profile(borrower, addresses={"sms": to}, jurisdictions=("TT",))
    await world.fact(borrower, jurisdictions=("TT",))
    await world.request(borrower, channels=("sms",), jurisdictions=("TT",), **changes)


async def test_a_message_goes_out_through_the_provider_that_the_route_names(databases: Databases) -> None:
    async with a_wired_world(databases) as (world, fake):
        shown = await put(world, "main", twilio(fake))
        assert (shown["name"], shown["kind"], shown["channels"], shown["credentials"]) == (
            "main", "twilio", ["sms"], ["account_sid", "auth_token"],
        )  # fmt: skip
        await ask(world, "before")
        await world.service.pump()
        assert fake.kept == []
        assert len(await world.messages("before")) == 1
        await route(world, {"channel": "sms", "country": "TT", "provider": "main"})
        await ask(world, "b1")
        await world.service.pump()
        ((name, taken),) = fake.kept
        assert (name, taken.to) == ("main", REAL)
        assert "120.50" in taken.body
        sent = await world.delivery("b1")
        assert sent["state"] == "sent"
        (attempt,) = sent["attempts"]
        assert (attempt["provider"], attempt["provider_ref"]) == ("main", taken.ref)
        assert world.outcomes("b1") == ["sent"]
        assert await world.messages("b1") == []


@pytest.mark.parametrize(
    ("meaning", "state", "fault"),
    [
        (Meaning.INVALID_ADDRESS, "failed", "invalid_address"),
        (Meaning.OPTED_OUT, "failed", "opted_out"),
        (Meaning.UNKNOWN, "unknown", "provider"),
        (Meaning.THROTTLED_ACCOUNT, "pending", "throttled"),
        (Meaning.CONFIG, "pending", "config"),
    ],
)
async def test_what_a_provider_answers_decides_what_becomes_of_the_delivery(
    databases: Databases, meaning: Meaning, state: str, fault: str
) -> None:
    async with a_wired_world(databases) as (world, fake):
        await put(world, "main", twilio(fake))
        await route(world, {"channel": "sms", "provider": "main"})
        await ask(world, "b1", magic(meaning))
        await world.service.pump()
        delivery = await world.delivery("b1")
        assert (delivery["state"], delivery["attempts"][0]["fault"]) == (state, fault)


async def test_a_paused_provider_is_given_nothing_and_the_message_goes_when_it_is_resumed(databases: Databases) -> None:
    async with a_wired_world(databases) as (world, fake):
        await put(world, "main", twilio(fake))
        await route(world, {"channel": "sms", "provider": "main"})
        answer = await world.call("POST", "/v1/providers/main:pause", json={"reason": "arrears"})
        assert (answer.json()["paused"], answer.json()["paused_reason"]) == (True, "arrears")
        await ask(world, "b1")
        await world.service.pump()
        assert fake.kept == []
        assert (await world.delivery("b1"))["reason"] == "provider_paused"
        assert (await world.call("POST", "/v1/providers/main:resume")).json()["paused"] is False
        await world.pass_to(MORNING + timedelta(seconds=30))
        assert [taken.to for _, taken in fake.kept] == [REAL]


async def test_a_provider_that_is_paused_leaves_its_share_to_the_others(databases: Databases) -> None:
    async with a_wired_world(databases) as (world, fake):
        for name in FAKES:
            await put(world, name, twilio(fake, name))
        await route(world, *({"channel": "sms", "provider": name} for name in FAKES))
        await world.call("POST", "/v1/providers/second:pause", json={"reason": "slow"})
        for number in range(12):
            await ask(world, f"b{number}")
        await world.service.pump()
        assert {name for name, _ in fake.kept} == {"main"}
        assert len(fake.kept) == 12


async def test_secrets_are_stored_sealed_and_shown_to_nobody_and_stay_when_they_are_left_out(databases: Databases) -> None:
    async with a_wired_world(databases, public_url="https://dunning.example") as (world, fake):
        first = await put(world, "main", twilio(fake))
        url = first["receipts_url"]
        assert url.startswith("https://dunning.example/v1/providers/main/")
        secret = url.split("/")[-2]
        listed = (await world.call("GET", "/v1/providers")).text
        assert "main" in listed
        stored = str(await world.scalar("select string_agg(a::text, '') from notifier.provider_accounts a"))
        for word in ("tok-secret", secret):
            assert word not in listed
            assert word not in stored
            assert word.encode().hex() not in stored
        kept = await put(world, "main", {**twilio(fake), "credentials": None, "at_once": 5}, 200)
        assert (kept["version"], kept["receipts_url"]) == (2, url)
        silent = await put(world, "push", {"kind": "jpush", "credentials": {"app_key": "k", "master_secret": "s"}})
        assert (silent["receipts_url"], silent["inbound_url"]) == (None, None)
        await route(world, {"channel": "sms", "provider": "main"})
        await ask(world, "b1")
        await world.service.pump()
        assert fake.kept[0][1].callback is not None
        assert fake.kept[0][1].callback.startswith(url)


async def test_new_credentials_hold_from_the_next_message_on(databases: Databases) -> None:
    async with a_wired_world(databases) as (world, fake):
        await put(world, "main", twilio(fake, credentials={**CREDENTIALS, "auth_token": "wrong"}))
        await route(world, {"channel": "sms", "provider": "main"})
        await ask(world, "b1")
        await world.service.pump()
        assert (await world.delivery("b1"))["attempts"][0]["code"] == "20003"
        await put(world, "main", twilio(fake), 200)
        await world.pass_to(MORNING + timedelta(seconds=30))
        assert (await world.delivery("b1"))["state"] == "sent"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"kind": "carrier-pigeon"}, "unknown_kind"),
        ({"channels": ["email"]}, "unknown_channel"),
        ({"credentials": {"account_sid": "AC1"}}, "invalid_account"),
        ({"credentials": {**CREDENTIALS, "pin": "1"}}, "invalid_account"),
        ({"settings": {}}, "invalid_account"),
        ({"base_url": "http://provider.example"}, "invalid_base_url"),
        ({"base_url": "ftp://127.0.0.1"}, "invalid_base_url"),
        ({**WEBHOOK, "settings": {"url": "http://a.example"}}, "invalid_account"),
        ({**WEBHOOK, "credentials": {"secret": "!"}}, "invalid_account"),
        ({**WEBHOOK, "base_url": "https://a.example"}, "invalid_base_url"),
        (
            {"kind": "aws_sms", "credentials": {"access_key_id": "a", "secret_access_key": "b"}, "settings": {"region": "x.evil.example/"}},
            "invalid_account",
        ),
        (
            {"kind": "fcm", "credentials": {"client_email": "a@b", "private_key": "no key"}, "settings": {"project_id": "p"}},
            "invalid_account",
        ),
        ({"kind": "apns", "credentials": {"private_key": "no key"}, "settings": APNS}, "invalid_account"),
        ({"kind": "apns", "credentials": {"private_key": "no key"}, "settings": APNS, "base_url": "https://a.example"}, "invalid_base_url"),
        (
            {"kind": "smtp", "credentials": {}, "settings": {"host": "mail.example", "from": "a@b.c", "tls": "ssl"}, "base_url": None},
            "invalid_account",
        ),
        ({"rate": 5}, "invalid_request"),
    ],
)  # fmt: skip
async def test_an_account_with_which_nothing_could_be_sent_is_refused(databases: Databases, changes: dict[str, Any], code: str) -> None:
    async with a_wired_world(databases) as (world, fake):
        refused = await put(world, "main", twilio(fake, **changes), 422)
        assert refused["code"] == code
        assert " " in refused["detail"].partition(": ")[2], "a word of ours is no answer"
        assert await world.scalar("select count(*) from notifier.provider_accounts") == 0


async def test_routes_name_only_providers_that_carry_the_channel_and_each_change_is_a_version(databases: Databases) -> None:
    async with a_wired_world(databases) as (world, fake):
        await put(world, "main", twilio(fake))
        await route(world, {"channel": "sms", "provider": "nobody"}, status=422)
        await route(world, {"channel": "email", "provider": "main"}, status=422)
        await route(world, {"channel": "sms", "provider": "main"}, {"channel": "sms", "provider": "main"}, status=422)
        await route(world, {"channel": "sms", "country": "CN", "provider": "main", "weight": 3}, {"channel": "sms", "provider": "sandbox"})
        shown = await world.get("/v1/routes")
        assert shown["version"] == 1
        assert shown["items"][0] == {"channel": "sms", "country": "CN", "provider": "main", "weight": 3}
        await route(world)
        assert (await world.get("/v1/routes"))["items"] == []
        assert await world.scalar("select count(*) from notifier.routes") == 2


async def test_another_tenants_accounts_and_routes_are_not_ours(databases: Databases) -> None:
    async with a_wired_world(databases) as (world, fake):
        await put(world, "main", twilio(fake))
        async with world.engine.begin() as conn:
            await add_key(conn, "notifier", "dw_other", Principal("other", None, frozenset({"contacts:read", "ops"})))
        theirs = {"headers": {"Authorization": "Bearer dw_other"}}
        listed = (await world.call("GET", "/v1/providers", **theirs)).json()["items"]
        assert [one["name"] for one in listed] == ["sandbox"]
        assert (await world.call("POST", "/v1/providers/main:pause", json={"reason": "x"}, **theirs)).status_code == 404
        items = {"items": [{"channel": "sms", "provider": "main"}]}
        assert (await world.call("PUT", "/v1/routes", json=items, **theirs)).status_code == 422


async def test_real_providers_are_no_channel_where_only_a_sandbox_may_send(databases: Databases) -> None:
    async with a_wired_world(databases) as (world, fake):
        await put(world, "main", twilio(fake))
        await route(world, {"channel": "sms", "provider": "main"})
        await world.late_borrower("b1", addresses={"sms": REAL})
        await world.request("b1", channels=("sms",))
        await world.service.pump()
        assert (await world.delivery("b1"))["state"] == "failed"
        assert fake.kept == []


async def test_an_account_that_cannot_be_opened_is_given_nothing_and_the_message_waits(databases: Databases) -> None:
    async with a_wired_world(databases) as (world, fake):
        await put(world, "main", twilio(fake))
        await route(world, {"channel": "sms", "provider": "main"})
        async with world.engine.begin() as conn:
            await conn.execute(text("update notifier.provider_accounts set sealed = 'x', version = 7"))
        await ask(world, "b1")
        await world.service.pump()
        delivery = await world.delivery("b1")
        assert (delivery["state"], delivery["reason"]) == ("pending", "provider_gone")
        assert fake.kept == []
