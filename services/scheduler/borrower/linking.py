"""Links to the borrower's page: made and revoked by the lender, opened by whoever knows the last digits of the borrower's phone number."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common import ids
from libs.common.auth import Principal
from libs.common.clock import Clock
from libs.common.errors import DomainError
from libs.common.page_links import Verifier
from services.scheduler.domain.case import State
from services.scheduler.domain.links import LASTS, TRIES, VISIT, Link, digits_of, hashed
from services.scheduler.elsewhere import Asking, Elsewhere, NoAnswerError
from services.scheduler.finding import named, unknown
from services.scheduler.store import cases, links, message_links
from services.scheduler.store.held import Held
from services.scheduler.store.links import LinkRow
from services.scheduler.store.message_links import ERASED

TOKEN_BYTES = 18
"""144 random bits in 24 characters: SMS is charged by length."""
LONGEST_TOKEN = 64
MESSAGE = "message"
"""The maker of a link that a message carried."""


@dataclass(frozen=True, slots=True)
class Made:
    """A new link; its token is shown only once."""

    link_id: str
    token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Opened:
    """The result of the second factor: a visit, or why not (`not_digits` `wrong` `locked` `away` `gone`), and the tries left."""

    visit: str | None = None
    why: str = ""
    left: int = 0


@dataclass(frozen=True, slots=True)
class Links:
    """Makes links, and lets their holders in."""

    engine: AsyncEngine
    clock: Clock
    elsewhere: Elsewhere
    signed: Verifier

    async def make(self, caller: Principal, borrower_id: str) -> Made:
        """Make a link that lasts as long as the borrower's current spells, and at most 30 days."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        async with self.engine.begin() as conn:
            held = await _held(conn, caller.tenant, borrower_id)
            now = await self.clock.at(conn)
            if not held:
                raise unknown("borrower", borrower_id)
            late = [one.case for one in held if one.case.spell and one.case.state is not State.CLOSED]
            if not late:
                raise DomainError(409, "no_case", "this borrower has nothing overdue: there is no case to show")
            row = LinkRow(
                hashed(token), caller.tenant, borrower_id, f"l-{ids.fresh()}", [one.case_id for one in late], [one.spell for one in late],
                now, named(caller), now + LASTS,
            )  # fmt: skip
            await links.make(conn, row)
        return Made(row.link_id, token, row.expires_at)

    async def of_borrower(self, caller: Principal, borrower_id: str, *, after: str, limit: int) -> Sequence[RowMapping]:
        """Return a borrower's links."""
        async with self.engine.connect() as conn:
            now = await self.clock.at(conn)
            return await links.of_borrower(conn, caller.tenant, borrower_id, after=after, limit=limit, now=now)

    async def revoke(self, caller: Principal, borrower_id: str, link_id: str) -> None:
        """Revoke a link; an unknown one is ignored."""
        async with self.engine.begin() as conn:
            now = await self.clock.at(conn)
            await links.revoke(conn, (caller.tenant, borrower_id), link_id, by=named(caller), now=now)

    async def find(self, token: str) -> tuple[Link | None, datetime]:
        """Return the link of a token and the current time; None if there was never such a link."""
        async with self.engine.connect() as conn:
            now = await self.clock.at(conn)
            if (of := self.signed.read(token)) is not None:
                return await message_links.find(conn, of, token, now=now), now
            found = await links.find(conn, hashed(token)) if len(token) <= LONGEST_TOKEN else None
        return (found if found is not None and found.is_of(token) else None), now

    async def open(self, link: Link, typed: str) -> Opened:
        """Check the second factor. A try is counted first, so that concurrent tries each count; if the notifier is away it is free."""
        digits = digits_of(typed)
        if digits is None:
            return Opened(why="not_digits")
        async with self.engine.begin() as conn:
            tries = await self._take_try(conn, link)
        if tries is None:
            return Opened(why="locked")
        try:
            recognised = await self._recognises(link, digits)
        except NoAnswerError:
            async with self.engine.begin() as conn:
                await _give_try_back(conn, link)
            return Opened(why="away")
        if not recognised:
            return Opened(why="wrong" if tries < TRIES else "locked", left=TRIES - tries)
        visit = secrets.token_urlsafe(TOKEN_BYTES)
        async with self.engine.begin() as conn:
            now = await self.clock.at(conn)
            opened = await links.open_(conn, link.token_hash, hashed(visit), now + VISIT)
            await message_links.forget_tries(conn, (link.tenant, link.borrower_id))
        return Opened(visit) if opened else Opened(why="gone")

    async def may_act(self, link: Link) -> bool:
        """Count an act made through a link; return whether it is still allowed."""
        async with self.engine.begin() as conn:
            return await links.count_act(conn, link.token_hash, await self.clock.at(conn))

    async def _take_try(self, conn: AsyncConnection, link: Link) -> int | None:
        """Count a try against the link; if a message carried it, against its borrower, and store the link."""
        if link.task_id is None:
            return await links.take_try(conn, link.token_hash)
        if not await _held(conn, link.tenant, link.borrower_id):
            return None
        now = await self.clock.at(conn)
        row = LinkRow(
            link.token_hash, link.tenant, link.borrower_id, link.link_id, [link.case_id or ""], [link.spell or 0], now, MESSAGE,
            link.expires_at, link.task_id,
        )  # fmt: skip
        await links.make(conn, row)
        return await message_links.take_try(conn, (link.tenant, link.borrower_id), now=now)

    async def _recognises(self, link: Link, digits: str) -> bool:
        path = f"/v1/borrowers/{link.borrower_id}:recognise"
        said = await self.elsewhere.ask("notifier", path, Asking(link.tenant, None), {"phone_ends_with": digits})
        return isinstance(said, dict) and said.get("recognised") is True


async def _held(conn: AsyncConnection, tenant: str, borrower_id: str) -> list[Held]:
    """Lock a borrower's cases; return none if the borrower was erased."""
    held = await cases.lock_of_borrowers(conn, [(tenant, borrower_id)])
    return [] if any(stop.kind == ERASED for one in held for stop in one.case.stops) else held


async def _give_try_back(conn: AsyncConnection, link: Link) -> None:
    if link.task_id is None:
        await links.give_try_back(conn, link.token_hash)
    else:
        await message_links.give_try_back(conn, (link.tenant, link.borrower_id))
