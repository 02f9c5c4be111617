"""What borrowers choose on their page, stored as versions of their preferences alongside those that people write."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.contact_tasks import PreferencesSet
from libs.compliance import Channel
from services.notifier.domain.preferences import ChannelWishes, Quiet, Wishes
from services.notifier.store import preferences
from services.notifier.store.preferences import Asked

BORROWER = "borrower"
REASON = "borrower's page"
OURS = frozenset({"sms", "email", "push", "inbox"})
"""Channels that can be chosen on the page."""
_wishes = msgspec.json.Decoder(Wishes).decode


async def keep(conn: AsyncConnection, wished: Sequence[tuple[str, PreferencesSet]]) -> None:
    """Write these (tenant, wishes) as new versions; one no newer than the current version changes nothing, so repeats have no effect."""
    for tenant, one in sorted(wished, key=lambda wish: (wish[0], wish[1].borrower_id, wish[1].at)):
        held = await preferences.versions(conn, tenant, one.borrower_id)
        if held and held[0].at >= one.at:
            continue
        after = merged(_wishes(held[0].wishes) if held else Wishes(), one)
        version = held[0].version + 1 if held else 1
        await preferences.put(conn, tenant, one.borrower_id, Asked(version, msgspec.json.encode(after), REASON, BORROWER, one.at))


def merged(before: Wishes, wished: PreferencesSet) -> Wishes:
    """Return the combined wishes: hours and our own channels as chosen now; earlier wishes about language and calls remain."""
    quiet = tuple(Quiet(days=(one.days,), from_=one.from_, to=one.to) for one in wished.no_contact)
    others = {Channel(name).value for name in before.preferences().no_channels} - OURS
    never = sorted(others | set(wished.never))
    return Wishes(no_contact=quiet, channels=ChannelWishes(never=tuple(never)), language=before.language)  # type: ignore[arg-type]  # names of the contract's list
