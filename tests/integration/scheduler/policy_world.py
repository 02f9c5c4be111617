"""Policies over HTTP, used by several people."""

from __future__ import annotations

from typing import Any

import httpx

from libs.common import auth
from tests.integration.scheduler.world import World

OTHER_KEY = "dw_other"
YAML = {"Content-Type": "application/yaml"}

DOCUMENT = """\
policy: gentle-ones
cure: {cool_down: 7d}
steps:
  - {id: hello, at: {day: 1, between: "10:00-11:30"}, send: {template: gentle, channels: [sms, email]}}
  - {id: firm, at: {day: 7, between: "10:00-11:30"}, send: {template: firm, channels: [sms, email]}}
  - {id: call, at: {day: 14}, task: {queue: phone, kind: call}}
"""
LOANWISE = DOCUMENT.replace("steps:\n", "consolidate: loan\nsteps:\n")
"""The same, with a case for each loan."""


class Office:
    """The tenant's people: `mei` writes, `ola` decides; and whoever else has a key."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def hire(self, key: str, person: str | None, *, tenant: str = "default", scopes: frozenset[str] = frozenset(auth.SCOPES)) -> None:
        """Give somebody a key."""
        async with self.world.engine.begin() as conn:
            await auth.add_key(conn, "scheduler", key, auth.Principal(tenant, person, scopes))

    async def ask(self, method: str, path: str, *, key: str | None = None, **other: Any) -> httpx.Response:
        headers = {**other.pop("headers", {}), **({"Authorization": f"Bearer {key}"} if key else {})}
        return await self.world.http.request(method, f"/v1{path}", headers=headers, **other)

    async def draft(self, text: str = DOCUMENT) -> httpx.Response:
        return await self.ask("POST", "/policies", content=text, headers=YAML)

    async def activated(self, text: str = DOCUMENT, **activation: Any) -> int:
        """Write, submit, approve and activate a version; return its number."""
        made = (await self.draft(text)).json()
        path = f"/policies/{made['policy']}/versions/{made['version']}"
        await self.hire(OTHER_KEY, "ola")
        for verb, key in (("submit", None), ("approve", OTHER_KEY)):
            done = await self.ask("POST", f"{path}:{verb}", key=key)
            assert done.status_code == 200, done.text
        done = await self.ask("POST", f"{path}:activate", json=activation)
        assert done.status_code == 200, done.text
        return int(made["version"])

    async def assign(self, *items: dict[str, Any]) -> httpx.Response:
        tag = (await self.ask("GET", "/assignments")).headers["ETag"]
        return await self.ask("PUT", "/assignments", json={"items": items}, headers={"If-Match": tag})


async def loanwise(world: World, text: str = LOANWISE, **activation: Any) -> Office:
    """An office where one policy applies to everybody: by default the one with a case for each loan."""
    office = Office(world)
    await office.activated(text, **activation)
    await office.assign({"policy": "gentle-ones"})
    await world.scheduler.pump()
    return office
