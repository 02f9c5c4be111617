"""A borrower who opens the page in a browser."""

from __future__ import annotations

from typing import Any

import httpx

from tests.e2e.world import World, borrower
from tests.support.forms import PageSeen


class Browser:
    """A borrower's browser: no key, no script, no cookie."""

    def __init__(self, world: World, url: str) -> None:
        transport = httpx.ASGITransport(world.platform.app)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://dunwell", headers={"Accept-Language": "en"})
        self.path = httpx.URL(url).path
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
        """Open the link and enter these digits."""
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
