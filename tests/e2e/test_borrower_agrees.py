"""How borrowers see their debts line by line on their page, and what they agree there with the lender."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from libs.common import auth
from services import embedded
from tests.e2e.browsing import Browser, end_of_phone, link
from tests.e2e.world import World, borrower, late_loan, new_secrets, one_process, payment
from tests.support.postgres import Databases

SECRETS = new_secrets()


@pytest.fixture
async def world(databases: Databases) -> AsyncIterator[World]:
    async with databases.fresh("ingest", "scheduler", "notifier", pool_size=16) as engine, one_process(engine, secrets=SECRETS) as made:
        yield made


async def inside(world: World) -> Browser:
    """A borrower with access, a day late; a second one is the control."""
    await world.publish(*borrower("B1"), *borrower("witness"), late_loan("L1", "B1"), late_loan("L2", "witness", amount=777_00))
    await world.publish(payment("L1", 2050))
    await world.quiet()
    browser = Browser(world, (await link(world))["url"])
    await browser.enter(end_of_phone("B1"))
    assert browser.answer.status_code == 200, browser.answer.text
    return browser


async def offers(world: World) -> list[tuple[str, str]]:
    """The states of the offers of B1's case, and who decided."""
    case = (await world.case("B1"))["case_id"]
    found = (await world.get(f"/scheduler/v1/cases/{case}/offers"))["items"]
    return [(one["state"], one["decided_by"]) for one in found]


async def test_the_statement_shows_each_line_and_one_of_them_can_be_disputed(world: World) -> None:
    browser = await inside(world)
    page = await browser.send("statement")
    assert browser.answer.status_code == 200
    lines = [line for entry in (await world.get("/ingest/v1/loans/L1/statement"))["entries"] for line in entry["lines"]]
    assert [line["side"] for line in lines] == ["due", "paid"]
    assert all(word in page.text for word in ("Added: Principal", "CNY 120.50", "Paid: Principal", "CNY -20.50"))
    assert "777" not in page.text
    [paid] = [line["number"] for line in lines if line["side"] == "paid"]
    page = await browser.send("dispute", line=str(paid), note="I paid more")
    assert "A person will check this" in page.text
    case = (await world.case("B1"))["case_id"]
    [dispute] = (await world.get(f"/scheduler/v1/cases/{case}/disputes"))["items"]
    number, _, at = dispute["line"].partition(" of the statement of ")
    assert (dispute["loan_id"], int(number), dispute["note"]) == ("L1", paid, "I paid more")
    again = await world.get("/ingest/v1/loans/L1/statement", known_at=at)
    assert [line for entry in again["entries"] for line in entry["lines"]] == lines
    await world.let_pass(days=2)
    assert (await world.messages("B1"), len(await world.messages("witness")) > 0) == ([], True)


async def test_the_page_stands_while_ingest_does_not_answer(world: World) -> None:
    browser = await inside(world)
    async with world.platform.engine.begin() as conn:
        await auth.remove_key(conn, "ingest", SECRETS.page_key)
    world.platform.ingest.app.state.keys._cache.clear()  # a key is cached for 15 s, and nobody waits for that here
    page = await browser.send("statement")
    assert (browser.answer.status_code, "cannot be shown just now" in page.text, "CNY 100.00 is open." in page.text) == (503, True, True)
    await embedded.put_page_key(world.platform.engine, SECRETS)
    world.platform.ingest.app.state.keys._cache.clear()  # as above
    await browser.send("statement")
    assert browser.answer.status_code == 200


async def test_the_statement_of_no_debt_of_the_case_is_shown(world: World) -> None:
    browser = await inside(world)
    for place in ("0", "2", "L2", "../L2", ""):
        page = await browser.send_fields({**browser.page.form("statement"), "loan": place})
        assert (browser.answer.status_code, "777" in page.text) == (503, False)


async def test_an_offer_that_stands_is_accepted_on_the_page_and_contacts_rest(world: World) -> None:
    browser = await inside(world)
    case = (await world.case("B1"))["case_id"]
    terms = {"kind": "instalment_plan", "max_months": 6, "waive_interest_percent": 20}
    made = await world.http.post(f"/scheduler/v1/cases/{case}/offers", json=terms)
    offer = made.json()
    if offer["state"] == "proposed":
        path = f"/scheduler/v1/cases/{case}/offers/{offer['offer_id']}:approve"
        approved = await world.http.post(path, json={}, headers={"Authorization": "Bearer dunwell-dev-2"})
        assert approved.status_code == 200, approved.text
    page = await browser.send("show", lang="en")
    assert all(word in page.text for word in ("in monthly instalments, 6 at most", "20 % of the interest is waived"))
    page = await browser.send("offer", say="accept", months="7")
    assert (browser.answer.status_code, "a number from 1 to 6" in page.text, await offers(world)) == (422, True, [("open", "dev-2")])
    form = browser.page.form("offer", say="accept", months="4")
    for _ in range(2):
        page = await browser.send_fields(form)
    assert "The offer is accepted" in page.text or "does not stand any more" in page.text
    assert await offers(world) == [("accepted", "borrower")]
    [accepted] = [one for one in await world.story("B1") if one["kind"] == "case.offer_accepted"]
    assert (accepted["detail"]["taken"], accepted["detail"]["by"]) == ({"months": 4}, "borrower")
    await world.let_pass(days=2)
    assert (await world.messages("B1"), len(await world.messages("witness")) > 0) == ([], True)


async def test_a_declined_offer_changes_nothing_else(world: World) -> None:
    browser = await inside(world)
    await browser.send("plan", months="3")
    case = (await world.case("B1"))["case_id"]
    [asked] = (await world.get(f"/scheduler/v1/cases/{case}/offers"))["items"]
    if asked["state"] == "proposed":
        path = f"/scheduler/v1/cases/{case}/offers/{asked['offer_id']}:approve"
        assert (await world.http.post(path, json={})).status_code == 200
    await browser.send("show", lang="en")
    page = await browser.send("offer", say="decline")
    assert ("The offer is declined." in page.text, await offers(world)) == (True, [("declined", "borrower")])
    await world.let_pass(days=1)
    assert len(await world.messages("B1")) == 1


async def test_a_plan_is_asked_for_once_a_spell_and_reaches_a_person(world: World) -> None:
    browser = await inside(world)
    page = await browser.send("plan", months="0")
    assert (browser.answer.status_code, "a number from 1 to 24" in page.text) == (422, True)
    form = browser.page.form("plan", months="12")
    page = await browser.send_fields(form)
    assert "Thank you." in page.text
    assert not [one for one in browser.page.forms if one.get("act") == "plan"]
    await browser.send_fields({**form, "once": "another"})
    assert browser.answer.status_code in (409, 422)
    case = (await world.case("B1"))["case_id"]
    [asked] = (await world.get(f"/scheduler/v1/cases/{case}/offers"))["items"]
    assert (asked["state"], asked["made_by"], asked["terms"]["max_months"]) == ("proposed", "borrower", 12)
    assert [one["kind"] for one in (await world.get("/scheduler/v1/tasks"))["items"]]
