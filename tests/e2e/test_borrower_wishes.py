"""What borrowers choose on their page about hours and channels, and how they give feedback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from libs.common import auth
from services.embedded import Reached
from tests.e2e.browsing import Browser, end_of_phone, link
from tests.e2e.world import World, borrower, count, late_loan, new_secrets, one_process
from tests.support.postgres import Databases

SECRETS = new_secrets()


@pytest.fixture
async def world(databases: Databases) -> AsyncIterator[World]:
    async with (
        databases.fresh("ingest", "scheduler", "notifier", pool_size=16) as engine,
        one_process(engine, secrets=SECRETS, at=Reached(page_url="https://pay.example")) as made,
    ):
        yield made


async def inside(world: World, path: str | None = None) -> Browser:
    """A borrower with access."""
    path = path or (await link(world))["url"].removeprefix("https://pay.example")
    browser = Browser(world, f"/scheduler{path}")
    await browser.enter(end_of_phone("B1"))
    assert browser.answer.status_code == 200, browser.answer.text
    return browser


async def two_late(world: World) -> None:
    await world.publish(*borrower("B1"), *borrower("witness"), late_loan("L1", "B1"), late_loan("L2", "witness"))
    await world.quiet()


async def chosen(world: World) -> tuple[object, object, object, object]:
    """The borrower's wishes in force, their version and author."""
    said = await world.get("/notifier/v1/borrowers/B1/preferences")
    return said["no_contact"], said["channels"]["never"], said["version"], said["by"]


async def test_hours_and_channels_that_are_chosen_reach_the_notifier_and_are_kept_to(world: World) -> None:
    await two_late(world)
    browser = await inside(world)
    page = await browser.send("choose")
    form = {**browser.page.form("wishes"), "days": "every", "from": "11", "to": "20"}
    del form["use_sms"]
    for _ in range(2):
        page = await browser.send_fields(form)
        assert "We write to you only then and in this way" in page.text
    await world.quiet()
    closed = [{"days": ["every"], "from": "00:00", "to": "11:00"}, {"days": ["every"], "from": "20:00", "to": "24:00"}]
    assert await chosen(world) == (closed, ["sms"], 1, "borrower")
    assert [one["detail"]["never"] for one in await world.story("B1") if one["kind"] == "case.preferences_set"] == [["sms"]]
    await world.let_pass(minutes=20)
    assert (await world.messages("B1"), [one["channel"] for one in await world.messages("witness")]) == ([], ["sms"])
    await world.let_pass(hours=1)
    [message] = await world.messages("B1")
    assert (message["channel"], message["accepted_at"] >= "2026-11-24T11:00") == ("email", True)
    await browser.enter(end_of_phone("B1"))
    page = await browser.send("choose")
    tags = [(tag, attributes) for tag, attributes in page.tags if "selected" in attributes or "checked" in attributes]
    assert [attributes["value"] for _, attributes in tags] == ["every", "11", "20", "yes", "yes"]


async def test_wishes_that_leave_nothing_are_not_taken_and_what_staff_wrote_of_calls_stays(world: World) -> None:
    await two_late(world)
    wanted = {
        "channels": {"never": ["call", "sms"]},
        "language": "es",
        "no_contact": [{"days": ["mon", "wed"], "from": "11:00", "to": "12:30"}],
    }
    assert (await world.http.put("/notifier/v1/borrowers/B1/preferences", json=wanted)).status_code == 200
    browser = await inside(world)
    page = await browser.send("choose")
    assert "Other hours are set for you now." in page.text
    form = {**browser.page.form("wishes"), "days": "mon-fri", "from": "8", "to": "18"}
    for wrong in ({"to": "9"}, {"from": "x"}, {"from": "25"}, {"days": ""}, {"use_sms": "", "use_email": "", "use_app": ""}):
        page = await browser.send_fields({**form, **wrong})
        assert (browser.answer.status_code, len(page.forms) > 0) == (422, True)
    world.clock.advance(timedelta(seconds=1))
    await browser.send_fields(form)
    await world.quiet()
    said = await world.get("/notifier/v1/borrowers/B1/preferences")
    assert (said["channels"]["never"], said["language"], said["reason"]) == (["call"], "es", "borrower's page")
    assert said["no_contact"][-1] == {"days": ["sat-sun"], "from": "00:00", "to": "24:00"}


async def test_what_stands_is_not_overwritten_while_the_notifier_does_not_say_what_that_is(world: World) -> None:
    await two_late(world)
    browser = await inside(world)
    async with world.platform.engine.begin() as conn:
        await auth.remove_key(conn, "notifier", SECRETS.page_key)
    world.platform.notifier.app.state.keys._cache.clear()  # a key is cached for 15 s, and nobody waits for that here
    page = await browser.send("choose")
    assert (browser.answer.status_code, [one for one in page.forms if one.get("act") == "wishes"]) == (503, [])


async def test_how_it_felt_is_told_with_the_step_whose_message_led_there(world: World) -> None:
    await two_late(world)
    await world.let_pass(minutes=5)
    [message] = await world.messages("B1")
    browser = await inside(world, message["body"].rpartition("https://pay.example")[2].split()[0])
    page = await browser.send("feel")
    assert (browser.answer.status_code, "Please fill this in." in page.text) == (422, True)
    for how in ("bad", "bad", "good"):
        page = await browser.send("feel", how=how)
        assert "Thank you for telling us." in page.text
    told = [one for one in await world.story("B1") if one["kind"] == "case.feedback_given"]
    assert [(one["reason"], one["detail"]["step"], one["detail"]["task_id"]) for one in told] == [
        ("bad", "gentle", message["task_id"]), ("good", "gentle", message["task_id"]),
    ]  # fmt: skip
    assert await count(world.platform.engine, "select count(*) from scheduler.page_answers where kind = 'feeling'") == 2
