"""The borrower's page, through all three services: who gets in, what is shown, and what becomes of what is done there."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx

from tests.e2e.world import MORNING, World, borrower, late_loan, payment
from tests.support.forms import PageSeen
from tests.support.wallet import event


class Browser:
    """A borrower's browser: no key, no script, no cookie."""

    def __init__(self, world: World, token: str) -> None:
        transport = httpx.ASGITransport(world.platform.app)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://dunwell", headers={"Accept-Language": "en"})
        self.path = f"/scheduler/b/{token}"
        self.answer = httpx.Response(0)
        self.page = PageSeen()

    async def look(self, **asked: str) -> PageSeen:
        """Open the link."""
        return self._read(await self.http.get(self.path, params=asked))

    async def send(self, act: str, **asked: str) -> PageSeen:
        """Send the form that does this, filled in."""
        return await self.send_fields(self.page.form(act, **asked))

    async def send_fields(self, fields: dict[str, str]) -> PageSeen:
        """Send a form."""
        return self._read(await self.http.post(self.path, data=fields))

    async def enter(self, digits: str) -> PageSeen:
        """Open the link and type these digits."""
        await self.look()
        return await self.send("open", digits=digits)

    def _read(self, answer: httpx.Response) -> PageSeen:
        self.answer, self.page = answer, PageSeen.of(answer.text)
        return self.page


def end_of_phone(borrower_id: str) -> str:
    """The last four digits of a borrower's phone."""
    return str(borrower(borrower_id)[0]["data"]["addresses"][0]["address"])[-4:]


async def link(world: World, borrower_id: str = "B1") -> Any:
    """A new link to a borrower's page."""
    answer = await world.http.post(f"/scheduler/v1/borrowers/{borrower_id}/links")
    assert answer.status_code == 201, answer.text
    return answer.json()


async def two_late(world: World) -> None:
    """Two borrowers a day late, to whom nothing has been said."""
    await world.publish(
        *borrower("B1"), *borrower("witness"), late_loan("L1", "B1"), late_loan("L2", "witness", amount=777_00)
    )
    await world.quiet()


async def inside(world: World, borrower_id: str = "B1") -> Browser:
    """A borrower who was let in."""
    browser = Browser(world, (await link(world, borrower_id))["token"])
    await browser.enter(end_of_phone(borrower_id))
    assert browser.answer.status_code == 200, browser.answer.text
    return browser


async def test_a_link_shows_the_lender_and_no_debt_until_the_phone_is_named(world: World) -> None:
    await two_late(world)
    browser = Browser(world, (await link(world))["token"])
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
