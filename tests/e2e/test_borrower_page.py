"""The borrower's page, through all three services: who gets in, what is shown, and what follows from actions there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from libs.common import auth
from services import embedded
from tests.e2e.browsing import Browser, end_of_phone, link
from tests.e2e.world import World, borrower, count, late_loan, new_secrets, one_process, payment
from tests.support.postgres import Databases
from tests.support.wallet import event

SECRETS = new_secrets()


@pytest.fixture
async def world(databases: Databases) -> AsyncIterator[World]:
    async with databases.fresh("ingest", "scheduler", "notifier", pool_size=16) as engine, one_process(engine, secrets=SECRETS) as made:
        yield made


async def two_late(world: World) -> None:
    """Two borrowers a day late, who have not been contacted."""
    await world.publish(*borrower("B1"), *borrower("witness"), late_loan("L1", "B1"), late_loan("L2", "witness", amount=777_00))
    await world.quiet()


async def inside(world: World, borrower_id: str = "B1") -> Browser:
    """A borrower with access."""
    browser = Browser(world, (await link(world, borrower_id))["url"])
    await browser.enter(end_of_phone(borrower_id))
    assert browser.answer.status_code == 200, browser.answer.text
    return browser


async def test_a_link_shows_the_lender_and_no_debt_until_the_phone_is_named(world: World) -> None:
    await two_late(world)
    browser = Browser(world, (await link(world))["url"])
    page = await browser.look()
    assert browser.answer.status_code == 200
    assert "Dunwell" in page.text
    assert not any(word in browser.answer.text.lower() for word in ("120.50", "cny", "overdue", "debt", "owe", "loan", "l1"))
    page = await browser.send("open", digits=end_of_phone("B1"))
    assert (browser.answer.status_code, "CNY 120.50 is open." in page.text) == (200, True)
    assert "777" not in page.text


async def test_a_promise_on_the_page_is_the_promise_that_people_write_down(world: World) -> None:
    await two_late(world)
    browser = await inside(world)
    page = await browser.send("promise", day="2026-11-26", amount="100.00")
    assert "You will pay CNY 100.00 by November 26, 2026." in page.text
    case = (await world.case("B1"))["case_id"]
    assert (await world.get(f"/scheduler/v1/cases/{case}/promises"))["items"] == []
    page = await browser.send("promise")
    assert "Thank you. You will pay CNY 100.00 by November 26, 2026." in page.text
    [promise] = (await world.get(f"/scheduler/v1/cases/{case}/promises"))["items"]
    assert (promise["amount"], promise["due_on"], promise["made_by"], promise["state"]) == (10000, "2026-11-26", "borrower", "open")
    await world.let_pass(days=1)
    assert (await world.messages("B1"), len(await world.messages("witness"))) == ([], 1)
    await world.publish(payment("L1", 10000, at=world.clock.now()))
    await world.let_pass(minutes=1)
    assert [one["state"] for one in (await world.get(f"/scheduler/v1/cases/{case}/promises"))["items"]] == ["kept"]


async def test_five_wrong_tries_close_a_link_for_good_and_a_notifier_that_is_away_costs_none(world: World) -> None:
    await two_late(world)
    made = await link(world)
    browser = Browser(world, made["url"])
    right = end_of_phone("B1")
    wrong = f"{(int(right) + 1) % 10_000:04}"
    for left in (4, 3):
        page = await browser.enter(wrong)
        assert (browser.answer.status_code, f"try {left} more times" in page.text) == (403, True)
    await browser.enter(right)
    assert browser.answer.status_code == 200
    for _ in range(4):
        await browser.enter(wrong)
    async with world.platform.engine.begin() as conn:
        await auth.remove_key(conn, "notifier", SECRETS.page_key)
    world.platform.notifier.app.state.keys._cache.clear()  # a key is cached for 15 s, and nobody waits for that here
    await browser.enter(right)
    assert browser.answer.status_code == 503
    await embedded.put_page_key(world.platform.engine, SECRETS)
    world.platform.notifier.app.state.keys._cache.clear()  # as above
    await browser.enter("12x4")
    assert browser.answer.status_code == 422
    form = browser.page.form("open", digits=wrong)
    page = await browser.send_fields(form)
    assert (browser.answer.status_code, "wrong too often" in page.text) == (403, True)
    page = await browser.send_fields({**form, "digits": right})
    assert (browser.answer.status_code, "CNY" in page.text) == (403, False)
    await browser.look()
    assert (browser.answer.status_code, browser.page.forms) == (403, [])
    [shown] = (await world.get("/scheduler/v1/borrowers/B1/links"))["items"]
    assert (shown["link_id"], shown["state"]) == (made["link_id"], "locked")


async def test_tries_at_once_are_each_one(world: World) -> None:
    await two_late(world)
    browser = Browser(world, (await link(world))["url"])
    page = await browser.look()
    right = end_of_phone("B1")
    guesses = [f"{(int(right) + n) % 10_000:04}" for n in range(1, 21)]
    answers = await asyncio.gather(*(browser.http.post(browser.path, data=page.form("open", digits=guess)) for guess in guesses))
    assert {answer.status_code for answer in answers} == {403}
    assert await count(world.platform.engine, "select tries from scheduler.borrower_links") == 5
    assert await count(world.platform.engine, "select count(*) from scheduler.borrower_links where visit_hash is not null") == 0


async def test_no_link_shows_or_touches_another_borrower_s_debts(world: World) -> None:
    await two_late(world)
    mine, other = await inside(world), await inside(world, "witness")
    assert ("CNY 120.50" in mine.page.text, "777" in mine.page.text) == (True, False)
    assert ("120.50" in other.page.text, "CNY 777.00" in other.page.text) == (False, True)
    theirs = other.page.form("hard")
    stolen = [{name: theirs[name] for name in names} for names in (("case",), ("visit",), ("key",), ("visit", "key"))]
    form = mine.page.form("hard")
    for part in stolen:
        page = await mine.send_fields({**form, **part})
        assert (mine.answer.status_code, "777" in page.text) == (409 if "case" in part else 403, False)
    assert await count(world.platform.engine, "select count(*) from scheduler.matters") == 0
    await other.look()
    assert other.page.form("open")


async def test_a_link_ends_with_its_spell_with_its_time_when_it_is_revoked_and_when_the_borrower_is_erased(world: World) -> None:
    await two_late(world)
    gone = Browser(world, "/scheduler/b/" + "A" * 24)
    await gone.look()
    nothing = gone.answer.text
    assert gone.answer.status_code == 404
    assert "Dunwell" not in nothing
    browser, again = await inside(world), await inside(world)
    [first, _] = (await world.get("/scheduler/v1/borrowers/B1/links"))["items"]
    assert (await world.http.delete(f"/scheduler/v1/borrowers/B1/links/{first['link_id']}")).status_code == 204
    await browser.send("show", lang="en")
    assert (browser.answer.status_code, browser.answer.text) == (404, nothing)
    other = await inside(world, "witness")
    await world.publish(event("borrower.erased", recorded=world.clock.now(), borrower_id="witness"))
    await world.quiet()
    await other.send("hard")
    assert (other.answer.status_code, other.answer.text) == (404, nothing)
    assert (await world.http.post("/scheduler/v1/borrowers/witness/links")).status_code == 404
    await world.publish(payment("L1", 12050, at=world.clock.now()))
    await world.let_pass(minutes=1)
    assert "Nothing is overdue. Thank you." in (await again.send("show", lang="en")).text
    await world.let_pass(days=8)
    await again.look()
    assert (again.answer.status_code, again.answer.text) == (404, nothing)
    assert (await world.http.post("/scheduler/v1/borrowers/B1/links")).status_code == 409
    assert (await world.http.post("/scheduler/v1/borrowers/nobody/links")).status_code == 404


async def test_a_link_ends_after_thirty_days_and_a_visit_after_half_an_hour(world: World) -> None:
    await two_late(world)
    browser = await inside(world)
    form = browser.page.form("hard")
    world.clock.advance(timedelta(minutes=31))
    page = await browser.send_fields(form)
    assert (browser.answer.status_code, "open for too long" in page.text, "CNY" in page.text) == (403, True, False)
    world.clock.advance(timedelta(days=29, hours=23))
    await browser.look()
    assert browser.answer.status_code == 200
    world.clock.advance(timedelta(hours=1))
    await browser.look()
    assert browser.answer.status_code == 404


async def test_looking_changes_no_row(world: World) -> None:
    await two_late(world)
    browser = Browser(world, (await link(world))["url"])
    rows = "select count(*), coalesce(sum(xmin::text::bigint), 0) from scheduler.{}"
    tables = ("borrower_links", "cases", "timeline", "outbox", "holds", "matters")

    async def state() -> list[object]:
        async with world.platform.engine.connect() as conn:
            return [(await conn.execute(text(rows.format(table)))).one() for table in tables]

    before = await state()
    for path, status in ((browser.path, 200), ("/scheduler/b/unknown", 404)):
        for method in ("GET", "HEAD"):
            assert (await browser.http.request(method, path)).status_code == status
    assert await state() == before


async def test_what_is_said_on_the_page_rests_contacts_until_a_person_answers_and_is_said_once(world: World) -> None:
    await two_late(world)
    browser = await inside(world)
    form = browser.page.form("dispute", note="I have paid this", loan="1")
    for _ in range(2):
        page = await browser.send_fields(form)
        assert "A person will check this" in page.text
    case = (await world.case("B1"))["case_id"]
    [dispute] = (await world.get(f"/scheduler/v1/cases/{case}/disputes"))["items"]
    assert (dispute["loan_id"], dispute["note"], dispute["opened_by"]) == ("L1", "I have paid this", "borrower")
    await world.let_pass(days=4)
    assert (await world.messages("B1"), len(await world.messages("witness")) > 0) == ([], True)
    assert (await world.get("/scheduler/v1/coverage"))["uncontacted"] == 0


async def test_hardship_and_a_complaint_reach_people(world: World) -> None:
    await two_late(world)
    browser = await inside(world)
    await browser.send("hard")
    await browser.send("complain", note="")
    assert browser.answer.status_code == 422
    await browser.send("complain", note="three calls a day")
    case = (await world.case("B1"))["case_id"]
    assert len((await world.get(f"/scheduler/v1/cases/{case}/hardships"))["items"]) == 1
    assert [one["note"] for one in (await world.get(f"/scheduler/v1/cases/{case}/complaints"))["items"]] == ["three calls a day"]
    await world.let_pass(seconds=5)
    kinds = {task["kind"] for task in (await world.get("/scheduler/v1/tasks"))["items"]}
    assert {"hardship", "complaint"} <= kinds


async def test_messages_that_are_stopped_on_the_page_stop_and_others_go_on(world: World) -> None:
    await two_late(world)
    browser = await inside(world)
    page = await browser.send("stop", which="sms")
    assert "They stop now." in page.text
    await world.let_pass(days=1)
    assert ({one["channel"] for one in await world.messages("B1")}, {one["channel"] for one in await world.messages("witness")}) == (
        {"email"}, {"sms"},
    )  # fmt: skip
    browser = await inside(world)
    await browser.send("stop", which="all")
    before = len(await world.messages("B1"))
    await world.let_pass(days=8)
    assert len(await world.messages("B1")) == before
    assert len(await world.messages("witness")) > 1
    assert (await world.get("/scheduler/v1/coverage"))["uncontacted"] == 0


async def test_a_form_that_another_site_sends_or_that_is_made_up_does_nothing(world: World) -> None:
    await two_late(world)
    browser = await inside(world)
    form = browser.page.form("hard")
    answer = await browser.http.post(browser.path, data=form, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    for name in ("key", "visit"):
        assert (await browser.http.post(browser.path, data={**form, name: "made-up"})).status_code == 403
    assert (await browser.http.post(browser.path, content=b"\xff")).status_code == 400
    assert (await browser.http.post(browser.path, content=b"&".join([b"a=1"] * 30))).status_code == 400
    assert await count(world.platform.engine, "select count(*) from scheduler.matters") == 0


async def test_what_is_sent_too_often_waits_an_hour(world: World) -> None:
    await two_late(world)
    browser = await inside(world)
    async with world.platform.engine.begin() as conn:
        await conn.execute(text("update scheduler.borrower_links set acts = 60, acts_since = :now"), {"now": world.clock.now()})
    page = await browser.send("hard")
    assert (browser.answer.status_code, "try again in an hour" in page.text) == (429, True)
    world.clock.advance(timedelta(minutes=29))
    assert await count(world.platform.engine, "select count(*) from scheduler.matters") == 0
    world.clock.advance(timedelta(minutes=31))
    await browser.enter(end_of_phone("B1"))
    await browser.send("hard")
    assert browser.answer.status_code == 200


async def test_the_page_speaks_the_reader_s_language_and_the_lender_s_name(world: World) -> None:
    await two_late(world)
    brand = {"name": "Acme", "contact": "help@acme.example"}
    settings = {"brand": brand, "pay_url": "https://pay.example/{loan_id}", "default_locale": "zh"}
    answer = await world.http.put("/scheduler/v1/settings", json=settings, headers={"If-Match": '"0"'})
    assert answer.status_code == 200, answer.text
    browser = Browser(world, (await link(world))["url"])
    browser.http.headers["Accept-Language"] = "xx"
    page = await browser.look()
    assert (page.language, "Acme" in page.text) == ("zh", True)
    page = await browser.look(lang="ar")
    assert (page.language, page.direction) == ("ar", "rtl")
    page = await browser.send("open", digits=end_of_phone("B1"))
    assert page.language == "ar"
    assert "https://pay.example/L1" in [attributes.get("href") for _, attributes in page.tags]
    page = await browser.send("show", lang="es")
    assert (page.language, "CNY 120,50" in page.text) == ("es", True)
    page = await browser.send("promise", day="2027-11-26")
    assert (browser.answer.status_code, "Elija un d\u00eda" in page.text) == (422, True)


async def test_what_fails_is_logged_by_its_route_and_never_by_its_token(world: World) -> None:
    await two_late(world)
    browser = Browser(world, (await link(world))["url"])
    async with world.platform.engine.begin() as conn:
        await conn.execute(text("alter table scheduler.borrower_links rename to elsewhere"))
    with capture_logs() as said:
        await browser.look()
    assert browser.answer.status_code == 500
    assert [line["route"] for line in said if line["event"] == "request_failed"] == ["/b/{token}"]
    assert browser.path.rpartition("/")[2] not in str(said)
