"""Keeps the connections on which providers say by themselves what became of messages, also while nothing is sent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common import logs
from libs.common.clock import pause
from services.notifier.directory import Directory
from services.notifier.providers.kinds import LINKS
from services.notifier.store import accounts

LOOK_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Connector:
    """Connects the accounts of all kinds that listen."""

    engine: AsyncEngine
    directory: Directory

    async def run(self, stop: asyncio.Event) -> None:
        """Look again and again until the stop: a connection that was lost is made anew."""
        while not stop.is_set():
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001  # the database is away, or one account cannot be opened: the next look tells
                logs.get("listener").warning("look_failed", reason=type(error).__name__)
            await pause(stop, LOOK_EVERY_S)

    async def look(self) -> None:
        """Connect what is not connected."""
        async with self.engine.connect() as conn:
            listening = await accounts.of_kinds(conn, [link.kind for link in LINKS.values() if link.listens])
        for tenant, name in listening:
            provider = await self.directory.linked(tenant, name)
            if provider is not None:
                await provider.listen()
