"""The contact book as people read it: open to those with access, masked for others, and every read recorded."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common import sealing
from libs.common.addresses import compared, kind_of, lookup_of
from libs.common.clock import Clock
from libs.common.contracts.borrower_profiles import BorrowerProfile
from libs.common.paging import after_moment, cut
from libs.common.sealing import Ring, SealError
from services.notifier.domain import masking
from services.notifier.finding import unknown_borrower
from services.notifier.mailbox import Mailbox, SandboxMessage
from services.notifier.store import borrowers, pii
from services.notifier.store.borrowers import Borrower
from services.notifier.store.pii import Reader
from services.notifier.store.sandbox import Wanted

Open = Callable[[str, str], str | None]
"""Returns what is sealed in a field, or None when it cannot be opened."""


@dataclass(frozen=True, slots=True)
class Book:
    """Reads what is known about people."""

    engine: AsyncEngine
    clock: Clock
    ring: Ring
    digest_key: bytes
    mailbox: Mailbox

    async def entry(self, tenant: str, borrower_id: str, *, reader: Reader | None) -> dict[str, object]:
        """Return a borrower's entry; masked unless a reader with access is given."""
        async with self.engine.begin() as conn:
            found = await borrowers.find(conn, tenant, borrower_id)
            if found is None:
                raise unknown_borrower(borrower_id)
            if reader is not None and found.profile is not None:
                await self._note(conn, reader, [borrower_id], what="profile")
        return {"borrower_id": borrower_id, "erased": found.erased, "masked": reader is None, **self._opened(tenant, found, reader)}

    async def messages(self, wanted: Wanted, *, to: str | None, reader: Reader | None) -> tuple[Sequence[SandboxMessage], str | None]:
        """Return messages of the sandbox, and where the page ends; without a reader with access, addresses and texts are left out."""
        more = await self.mailbox.find(replace(wanted, limit=wanted.limit + 1), to=to)
        found, following = cut(more, wanted.limit, lambda one: after_moment(one.accepted_at, one.id))
        if reader is None:
            return [_without_text(one) for one in found], following
        async with self.engine.begin() as conn:
            await self._note(conn, reader, [one.borrower_id for one in found if one.to is not None], what="sandbox_messages")
        return found, following

    async def knows_end(self, tenant: str, borrower_id: str, digits: str) -> bool:
        """Return whether one of the borrower's phone numbers ends with these digits; shows nothing, and its timing reveals nothing."""
        async with self.engine.connect() as conn:
            found = await borrowers.find(conn, tenant, borrower_id)
        if found is None:
            raise unknown_borrower(borrower_id)
        if found.profile is None:
            return False
        unseal = self._opener(tenant, borrower_id, found.key)
        phones = [one for one in found.profile.addresses if kind_of(one.channel) == "phone"]
        ends = [compared(one.channel, unseal("address", one.sealed) or "")[-len(digits) :] for one in phones]
        return sum(hmac.compare_digest(end.encode(), digits.encode()) for end in ends) > 0

    async def owners(
        self, reader: Reader, channel: str, address: str, *, after: str | None, limit: int
    ) -> tuple[Sequence[str], str | None]:
        """Return the borrowers who have this address, and where the page ends."""
        lookup = lookup_of(self.digest_key, reader.tenant, channel, address)
        async with self.engine.begin() as conn:
            owners = await pii.owners(conn, reader.tenant, lookup, after=after, limit=limit + 1)
            found, following = cut(owners, limit, lambda one: one)
            await self._note(conn, reader, list(found) or [None], what="lookup")
        return found, following

    async def _note(self, conn: AsyncConnection, reader: Reader, whose: list[str] | list[None], *, what: str) -> None:
        await pii.note(conn, reader, whose, what=what, at=await self.clock.at(conn))

    def _opened(self, tenant: str, found: Borrower, reader: Reader | None) -> dict[str, object]:
        profile = found.profile
        if profile is None:
            return {"name": None, "locale": None, "timezone": None, "jurisdictions": (), "addresses": ()}
        unseal = self._opener(tenant, profile.borrower_id, found.key)
        name = unseal("name", profile.sealed_name) if profile.sealed_name else None
        return {
            "name": masking.name(name) if name and reader is None else name,
            "locale": profile.locale, "timezone": profile.timezone, "jurisdictions": profile.jurisdictions,
            "addresses": _addresses(profile, unseal, masked=reader is None),
        }  # fmt: skip

    def _opener(self, tenant: str, borrower_id: str, wrapped: str | None) -> Open:
        context = f"{tenant}/{borrower_id}"
        try:
            holder = self.ring.holder(wrapped or "", context)
        except (SealError, ValueError):
            return lambda _field, _sealed: None

        def unseal(field: str, sealed: str) -> str | None:
            try:
                return holder.unseal(sealing.from_text(sealed), f"{context}/{field}").decode()
            except (SealError, ValueError):
                return None

        return unseal


def _addresses(profile: BorrowerProfile, unseal: Open, *, masked: bool) -> list[dict[str, object]]:
    return [
        {
            "channel": one.channel,
            "address": masking.address(one.channel, plain) if masked and plain else plain,
            "priority": one.priority, "verified_at": one.verified_at, "purposes": one.purposes,
        }
        for one, plain in ((one, unseal("address", one.sealed)) for one in profile.addresses)
    ]  # fmt: skip


def _without_text(one: SandboxMessage) -> SandboxMessage:
    return replace(one, to=masking.address(one.channel, one.to) if one.to else None, subject=None, body=None, html=None, link=None)
