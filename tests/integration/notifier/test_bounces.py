"""Bounces through a tenant's own relay: posted by its mail system, believed because of their mark; a bad address is suppressed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from aiosmtpd.smtp import Envelope

from tests.integration.notifier.test_mail_relays import ask, relay
from tests.integration.notifier.test_providers import open_packs, put, route
from tests.integration.notifier.world import World, a_world
from tests.integration.providers.relays import PlainServer, plain_server
from tests.support.bounces import CameBack
from tests.support.postgres import Databases

PUBLIC = "https://dunning.example"
SOFT = {"diagnostic": "452 4.2.2 Mailbox full", "status": "4.2.2"}


@asynccontextmanager
async def a_mailed_world(databases: Databases, **settings: str) -> AsyncIterator[tuple[World, str, Envelope]]:
    """A world in which `b1` was sent a mail, the URL for bounces, and the mail as its server has it."""
    async with (
        plain_server(PlainServer()) as server,
        a_world(databases, options=open_packs(), fakes=True, public_url=PUBLIC) as world,
    ):
        shown = await put(world, "relay", relay(port=str(server.port), **settings))
        assert shown["inbound_url"] is None
        await route(world, {"channel": "email", "provider": "relay"})
        await ask(world, "b1")
        (mail,) = server.taken
        yield world, shown["receipts_url"].removeprefix(PUBLIC), mail


def bounced(mail: Envelope, **changes: str) -> CameBack:
    assert isinstance(mail.content, bytes)
    return CameBack(mail.mail_from or "", mail.content.decode().replace("\r\n", "\n"), **changes)


async def post(world: World, url: str, raw: bytes) -> httpx.Response:
    return await world.call("POST", url, content=raw, headers={"Content-Type": "message/rfc822"})


async def suppressed(world: World) -> list[Any]:
    return [(one["ground"], one["source"]) for one in (await world.get("/v1/borrowers/b1/suppressions"))["items"]]


@pytest.mark.parametrize("server", ["postfix", "exim"])
@pytest.mark.parametrize("settings", [{}, {"bounces_to": "bounces+{id}@lender.example"}])
async def test_a_hard_bounce_fails_the_contact_and_ends_the_address(databases: Databases, server: str, settings: dict[str, str]) -> None:
    async with a_mailed_world(databases, **settings) as (world, url, mail):
        assert (await world.delivery("b1"))["state"] == "sent"
        assert ("bounces+m-" in (mail.mail_from or "")) == bool(settings)
        raw = bounced(mail).written_by(server)
        for new in (1, 0):
            answer = await post(world, url, raw)
            assert (answer.status_code, answer.json()) == (200, {"new": new})
        await world.service.pump()
        delivery = await world.delivery("b1")
        assert (delivery["state"], delivery["reason"]) == ("failed", "550 5.1.1")
        assert await suppressed(world) == [("invalid_address", "receipt")]
        assert "b1@example.com" not in str(await world.scalar("select string_agg(c::text, '') from notifier.callbacks c"))


async def test_a_soft_bounce_fails_the_contact_and_leaves_the_address(databases: Databases) -> None:
    async with a_mailed_world(databases) as (world, url, mail):
        await post(world, url, bounced(mail, **SOFT).written_by("postfix"))
        await world.service.pump()
        assert (await world.delivery("b1"))["state"] == "failed"
        assert await suppressed(world) == []


async def test_a_delay_changes_nothing_and_an_arrival_stands_above_a_failure(databases: Databases) -> None:
    async with a_mailed_world(databases) as (world, url, mail):
        await post(world, url, bounced(mail, action="delayed", **SOFT).written_by("exim"))
        await world.service.pump()
        assert (await world.delivery("b1"))["state"] == "sent"
        for action in ("delivered", "failed"):
            await post(world, url, bounced(mail, action=action).written_by("exim"))
        await world.service.pump()
        assert (await world.delivery("b1"))["state"] == "delivered"


async def test_without_the_secret_or_without_our_mark_nothing_is_believed(databases: Databases) -> None:
    async with a_mailed_world(databases) as (world, url, mail):
        raw = bounced(mail).written_by("postfix")
        elsewhere = url.replace(url.split("/")[-2], "another")
        assert (await post(world, elsewhere, raw)).status_code == 404
        (mark,) = {word for word in raw.decode().replace("<", " ").replace("@", " ").split() if word.startswith("m-")}
        unmarked = raw.replace(mark.encode(), mark.partition(".")[0].encode())
        answer = await post(world, url, unmarked)
        assert (answer.status_code, answer.json()) == (200, {"new": 0})
        assert (await world.delivery("b1"))["state"] == "sent"
        assert await suppressed(world) == []
