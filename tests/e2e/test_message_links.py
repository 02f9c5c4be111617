"""The link in every message: signed by the notifier, read by the scheduler, valid as long as its spell, with few tries for the borrower."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import httpx
import pytest

from libs.common.page_links import token_of
from services.embedded import Reached
from tests.e2e.browsing import Browser, end_of_phone, link
from tests.e2e.world import World, borrower, count, late_loan, new_secrets, one_process, payment
from tests.support.postgres import Databases
from tests.support.wallet import event

SECRETS = new_secrets()
PAGE = "https://pay.example"
LINK = re.compile(r"https://pay\.example(/b/[A-Za-z0-9_-]{32})(?=\s|$)")


@pytest.fixture
async def world(databases: Databases) -> AsyncIterator[World]:
    async with (
        databases.fresh("ingest", "scheduler", "notifier", pool_size=16) as engine,
        one_process(engine, secrets=SECRETS, at=Reached(page_url=PAGE)) as made,
    ):
        yield made


async def told(world: World, borrower_id: str = "B1") -> list[str]:
    """The paths of the links in a borrower's messages, oldest first, as in the texts."""
    return [f"/scheduler{path}" for one in await world.messages(borrower_id) for path in LINK.findall(one["body"])]


async def late(world: World) -> None:
    """Two late borrowers who have had the first message."""
    await world.publish(*borrower("B1"), *borrower("witness"), late_loan("L1", "B1"), late_loan("L2", "witness", amount=777_00))
    await world.let_pass(minutes=5)


async def test_the_link_of_a_message_opens_the_page_and_after_the_payment_is_over_with_its_spell(world: World) -> None:
    await late(world)
    [path] = await told(world)
    browser = Browser(world, path)
    page = await browser.look()
    assert (browser.answer.status_code, "120.50" in browser.answer.text) == (200, False)
    page = await browser.enter(end_of_phone("B1"))
    assert ("CNY 120.50 is open." in page.text, "777" in page.text) == (True, False)
    await world.publish(payment("L1", 12050, at=world.clock.now()))
    await world.let_pass(minutes=1)
    assert "Nothing is overdue. Thank you." in (await browser.send("show", lang="en")).text
    await world.let_pass(days=8)
    await browser.look()
    assert browser.answer.status_code == 404
    assert await _status(world, (await told(world, "witness"))[0]) == 200


async def test_nothing_that_travels_or_is_kept_in_the_open_holds_a_link(world: World) -> None:
    await late(world)
    [path] = await told(world)
    token = path.rpartition("/")[2]
    await Browser(world, path).enter(end_of_phone("B1"))
    tables = (
        "select table_schema || '.' || table_name from information_schema.tables where table_schema in ('ingest', 'scheduler', 'notifier')"
    )
    async with world.platform.engine.connect() as conn:
        names = (await conn.exec_driver_sql(f"{tables} and table_type = 'BASE TABLE'")).scalars().all()
        for name in names:
            held = await conn.exec_driver_sql(f"select count(*) from {name} t where strpos(t::text, '{token}') > 0")
            assert (name, held.scalar_one()) == (name, 0)
        kept = await conn.exec_driver_sql("select count(*) from scheduler.case_steps t where strpos(t::text, 't-') > 0")
        assert kept.scalar_one() > 0


async def test_wrong_tries_count_for_the_borrower_over_all_messages_until_a_link_of_the_lender_lets_in(world: World) -> None:
    await late(world)
    await world.let_pass(days=6)
    first, second = (Browser(world, path) for path in await told(world))
    right = end_of_phone("B1")
    wrong = f"{(int(right) + 1) % 10_000:04}"
    for browser in (first, second, first, second):
        await browser.enter(wrong)
        assert browser.answer.status_code == 403
    page = await second.enter(wrong)
    assert "wrong too often" in page.text
    for browser in (first, second):
        await browser.look()
        assert (browser.answer.status_code, browser.page.forms) == (403, [])
    assert {one["state"] for one in (await world.get("/scheduler/v1/borrowers/B1/links"))["items"]} == {"locked"}
    other = Browser(world, (await told(world, "witness"))[0])
    await other.enter(end_of_phone("witness"))
    assert other.answer.status_code == 200
    sent = Browser(world, "/scheduler" + httpx.URL((await link(world))["url"]).path)
    await sent.enter(right)
    assert sent.answer.status_code == 200
    await first.enter(right)
    assert (first.answer.status_code, "CNY 120.50" in first.page.text) == (200, True)


async def test_tries_that_are_over_are_forgotten_after_thirty_days_and_so_is_the_link(world: World) -> None:
    await late(world)
    [path] = await told(world)
    browser = Browser(world, path)
    right = end_of_phone("B1")
    for _ in range(5):
        await browser.enter(f"{(int(right) + 1) % 10_000:04}")
    [asked_at] = await _asked_at(world)
    world.clock.move_to(asked_at + timedelta(days=30) - timedelta(seconds=1))
    await browser.look()
    assert browser.answer.status_code == 403
    world.clock.advance(timedelta(seconds=1))
    await browser.look()
    assert browser.answer.status_code == 404


async def test_a_link_that_was_changed_or_signed_by_another_is_none_and_is_not_looked_up(world: World) -> None:
    await late(world)
    [path] = await told(world)
    token, [task] = path.rpartition("/")[2], [one["task_id"] for one in await world.messages("B1")]
    nothing = Browser(world, "/scheduler/b/" + "A" * 24)
    await nothing.look()
    made = [token[:-1] + ("A" if token[-1] != "A" else "B"), ("A" if token[0] != "A" else "B") + token[1:], token + "A", token[:-1]]
    made += [token_of(key, tenant, task) or "" for key, tenant in ((b"o" * 32, "default"), (SECRETS.link_key, "other"))]
    for forged in made:
        browser = Browser(world, f"/scheduler/b/{forged}")
        await browser.look()
        assert (forged, browser.answer.status_code, browser.answer.text) == (forged, 404, nothing.answer.text)
    unsaid = token_of(SECRETS.link_key, "default", "t-" + "0" * 20)
    assert (await _status(world, f"/scheduler/b/{unsaid}"), await _status(world, path)) == (404, 200)


async def test_erasure_and_revocation_end_the_links_of_messages(world: World) -> None:
    await late(world)
    [mine], [theirs] = await told(world), await told(world, "witness")
    browser = Browser(world, mine)
    await browser.enter(end_of_phone("B1"))
    [kept] = (await world.get("/scheduler/v1/borrowers/B1/links"))["items"]
    assert (kept["made_by"], kept["state"], kept["task_id"]) == ("message", "open", (await world.messages("B1"))[0]["task_id"])
    assert (await world.http.delete(f"/scheduler/v1/borrowers/B1/links/{kept['link_id']}")).status_code == 204
    await browser.send("hard")
    assert browser.answer.status_code == 404
    witness = Browser(world, theirs)
    await witness.enter(end_of_phone("witness"))
    await world.publish(event("borrower.erased", recorded=world.clock.now(), borrower_id="witness"))
    await world.quiet()
    await witness.send("hard")
    assert witness.answer.status_code == 404
    assert await _status(world, theirs) == 404
    assert await count(world.platform.engine, "select count(*) from scheduler.borrower_links where borrower_id = 'witness'") == 0


async def test_a_tenant_may_keep_links_out_of_a_channel(world: World) -> None:
    answer = await world.http.put("/notifier/v1/settings", json={"link_channels": ["email"]}, headers={"If-Match": '"0"'})
    assert answer.status_code == 200, answer.text
    await world.publish(*borrower("B1"), late_loan("L1", "B1"))
    await world.let_pass(minutes=5)
    [message] = await world.messages("B1")
    assert (message["channel"], "https://" in message["body"], message["link"]) == ("sms", False, None)


async def _status(world: World, path: str) -> int:
    transport = httpx.ASGITransport(world.platform.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://dunwell") as client:
        return (await client.get(path)).status_code


async def _asked_at(world: World) -> list[datetime]:
    async with world.platform.engine.connect() as conn:
        rows = await conn.exec_driver_sql("select requested_at from scheduler.case_steps where borrower_id = 'B1'")
        return list(rows.scalars().all())
