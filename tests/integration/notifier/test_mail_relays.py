"""Mail relays over HTTP: configured, really sent through to a mail server on this machine, retired; passwords are never returned."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.notifier.test_providers import a_wired_world, open_packs, put, route
from tests.integration.notifier.world import World, a_world
from tests.support.exim import Exim
from tests.support.postgres import Databases


def relay(**changes: str) -> dict[str, Any]:
    settings = {"host": "127.0.0.1", "port": "25", "tls": "none", "from": "Lender <dunning@lender.example>", **changes}
    return {"kind": "smtp", "settings": settings}


async def ask(world: World, borrower: str) -> None:
    await world.profile(borrower, addresses={"email": f"{borrower}@example.com"}, jurisdictions=("TT",))
    await world.fact(borrower, jurisdictions=("TT",))
    await world.request(borrower, channels=("email",), jurisdictions=("TT",))
    await world.service.pump()


async def test_a_mail_goes_out_through_the_tenants_own_relay(databases: Databases, exim: Exim) -> None:
    async with a_wired_world(databases) as (world, _):
        shown = await put(world, "relay", relay(port=str(exim.port)))
        assert (shown["kind"], shown["channels"], shown["sandbox"]) == ("smtp", ["email"], False)
        await route(world, {"channel": "email", "provider": "relay"})
        await ask(world, "b1")
        ((_, mail),) = [(to, mail) for to, mail in exim.mails() if to == "b1@example.com"]
        delivery = await world.delivery("b1")
    assert delivery["state"] == "sent"
    (attempt,) = delivery["attempts"]
    assert attempt["provider"] == "relay"
    assert attempt["provider_ref"]
    assert attempt["provider_ref"] in str(mail["Received"])
    body = mail.get_body(("plain",))
    assert body is not None
    assert "120.50" in body.get_content()


async def test_a_password_is_a_credential_and_never_a_setting_and_comes_back_to_nobody(databases: Databases) -> None:
    async with a_wired_world(databases) as (world, _):
        wanted = relay(host="mail.example.com", tls="starttls", username="lender")
        assert (await put(world, "relay", relay(password="s3cret-word"), 422))["code"] == "invalid_account"
        shown = await put(world, "relay", {**wanted, "credentials": {"password": "s3cret-word"}})
        assert shown["credentials"] == ["password"]
        assert "s3cret-word" not in (await world.call("GET", "/v1/providers")).text


@pytest.mark.parametrize(
    "changes",
    [
        {"tls": "maybe"}, {"from": "nobody"}, {"from": "a@b.example\r\nBcc: c@d.example"}, {"port": "0"}, {"port": "x"}, {"host": "a b"},
        {"connections": "101"}, {"username": "without a password"}, {"timeout_s": "60"}, {"pace": "1"},
    ],
)  # fmt: skip
async def test_a_relay_with_which_nothing_could_be_sent_is_refused(databases: Databases, changes: dict[str, str]) -> None:
    async with a_wired_world(databases) as (world, _):
        assert (await put(world, "relay", relay(**changes), 422))["code"] == "invalid_account"
        assert await world.scalar("select count(*) from notifier.provider_accounts") == 0


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1", 422), ("localhost", 422), ("::1", 422), ("mail.example.com", 201)])
async def test_this_machine_is_no_relay_unless_fakes_are_allowed(databases: Databases, host: str, status: int) -> None:
    async with a_world(databases, fakes=False) as world:
        await put(world, "relay", relay(host=host), status)


async def test_the_operators_own_relay_carries_mail_although_its_address_is_private(databases: Databases, exim: Exim) -> None:
    async with a_world(databases, options=open_packs(), private_hosts=frozenset({"127.0.0.1"})) as world:
        await put(world, "relay", relay(port=str(exim.port)))
        await route(world, {"channel": "email", "provider": "relay"})
        await ask(world, "o1")
        assert (await world.delivery("o1"))["state"] == "sent"
    assert [to for to, _ in exim.mails()].count("o1@example.com") == 1


async def test_a_relay_on_a_private_address_that_the_operator_did_not_name_is_given_nothing(databases: Databases) -> None:
    async with a_world(databases, options=open_packs(), private_hosts=frozenset({"10.0.0.5"})) as world:
        await put(world, "relay", relay(host="127.0.0.2"))
        await route(world, {"channel": "email", "provider": "relay"})
        await ask(world, "o2")
        (attempt,) = (await world.delivery("o2"))["attempts"]
        assert (attempt["result"], attempt["code"]) == ("not_sent", "address_not_public")


async def test_a_relay_that_is_set_anew_carries_the_next_mail_and_none_again(databases: Databases, exim: Exim) -> None:
    async with a_wired_world(databases) as (world, _):
        await put(world, "relay", relay(port=str(exim.port)))
        await route(world, {"channel": "email", "provider": "relay"})
        await ask(world, "r1")
        await put(world, "relay", relay(port=str(exim.port), connections="2"), 200)
        await ask(world, "r2")
        assert [(await world.delivery(name))["state"] for name in ("r1", "r2")] == ["sent", "sent"]
        exim_names = [to for to, _ in exim.mails()]
        assert (exim_names.count("r1@example.com"), exim_names.count("r2@example.com")) == (1, 1)
