"""Slots in the ledger of contacts held for people, and the records that take them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.value import replace
from services.notifier.domain.reserving import REPLACED, RESERVED, Held, Made, taken
from services.notifier.domain.verdicts import Decision
from services.notifier.store import contacts
from services.notifier.store.borrowers import Who, arrays
from services.notifier.store.contacts import Contact

_encode = msgspec.json.Encoder().encode
_decision = msgspec.json.Decoder(Decision).decode
_COLUMNS = "tenant, borrower_id, contact_id, at, channel, result, by, lookup, kind, loans, decision, reserved_until"


@dataclass(frozen=True, slots=True)
class Slot:
    """A contact that may be made until a certain time."""

    contact: Contact
    until: datetime

    @property
    def held(self) -> Held:
        """Return it as the rules take it."""
        one = self.contact
        return Held(one.contact_id, one.at, self.until, one.channel, one.loans)


async def reserve(conn: AsyncConnection, slot: Slot) -> None:
    """Hold a slot: it counts like a contact until it lapses."""
    one = slot.contact
    await conn.execute(
        text(
            f"insert into notifier.contacts ({_COLUMNS}, direction) values (:tenant, :borrower, :id, :at, :channel, :result, :by,"
            " :lookup, :kind, cast(:loans as text[]), :decision, :until, 'outbound')"
        ),
        {
            "tenant": one.tenant, "borrower": one.borrower_id, "id": one.contact_id, "at": one.at, "channel": one.channel,
            "result": RESERVED, "by": one.by, "lookup": one.lookup, "kind": one.kind, "loans": list(one.loans),
            "decision": _encode(one.decision), "until": slot.until,
        },
    )  # fmt: skip
    await contacts.keep_numbers(conn, [one])


async def settle(conn: AsyncConnection, made: Sequence[Contact]) -> None:
    """Enter contacts that people made, each replacing the slot held for it; their borrowers are locked."""
    if not made:
        return
    held = await _held(conn, {(one.tenant, one.borrower_id) for one in made})
    recorded = await _recorded(conn, made) if held else set()
    took: list[tuple[Contact, Slot]] = []
    for one in sorted(made, key=lambda contact: (contact.at, contact.contact_id)):
        slots = held.get((one.tenant, one.borrower_id), {})
        new = (one.tenant, one.borrower_id, one.contact_id) not in recorded
        if new and (found := taken(_made(one), [slot.held for slot in slots.values()])) is not None:
            took.append((one, slots.pop(found.contact_id)))
    await _close(conn, took)
    by_key = {_key(one): _explained(one, slot) for one, slot in took}
    same = {_key(one) for one, slot in took if one.contact_id == slot.contact.contact_id}
    await contacts.enter(conn, [by_key.get(_key(one), one) for one in made if _key(one) not in same])


async def _close(conn: AsyncConnection, took: Sequence[tuple[Contact, Slot]]) -> None:
    """Close slots: with the contact that was made in them, or as replaced by a record with another id."""
    ordered = sorted(took, key=lambda pair: _key(pair[1].contact))
    if not ordered:
        return
    same = [one.contact_id == slot.contact.contact_id for one, slot in ordered]
    await conn.execute(
        text(
            "update notifier.contacts c set at = n.at, result = n.result, by = n.by,"
            " reserved_until = case when n.same then null else c.reserved_until end"
            " from unnest(cast(:tenants as text[]), cast(:borrowers as text[]), cast(:ids as text[]), cast(:ats as timestamptz[]),"
            " cast(:results as text[]), cast(:bys as text[]), cast(:same as boolean[]))"
            " as n(tenant, borrower_id, contact_id, at, result, by, same)"
            " where c.tenant = n.tenant and c.borrower_id = n.borrower_id and c.contact_id = n.contact_id"
        ),
        {
            **arrays((slot.contact.tenant, slot.contact.borrower_id) for _, slot in ordered),
            "ids": [slot.contact.contact_id for _, slot in ordered], "same": same,
            "ats": [one.at if mine else slot.contact.at for mine, (one, slot) in zip(same, ordered, strict=True)],
            "results": [one.result if mine else REPLACED for mine, (one, _) in zip(same, ordered, strict=True)],
            "bys": [one.by if mine else slot.contact.by for mine, (one, slot) in zip(same, ordered, strict=True)],
        },
    )  # fmt: skip


async def _held(conn: AsyncConnection, who: Iterable[Who]) -> dict[Who, dict[str, Slot]]:
    rows = await conn.execute(
        text(
            f"select {', '.join('c.' + name for name in _COLUMNS.split(', '))}"
            " from unnest(cast(:tenants as text[]), cast(:borrowers as text[])) as w(tenant, borrower_id)"
            " join notifier.contacts c using (tenant, borrower_id) where c.reserved_until is not null and c.result = :reserved"
        ),
        {**arrays(sorted(who)), "reserved": RESERVED},
    )
    held: dict[Who, dict[str, Slot]] = {}
    for row in rows:
        held.setdefault((row.tenant, row.borrower_id), {})[row.contact_id] = _slot(row)
    return held


async def _recorded(conn: AsyncConnection, made: Sequence[Contact]) -> set[tuple[str, str, str]]:
    """Return which of these contacts are in the ledger already: a repeated record takes no second slot."""
    rows = await conn.execute(
        text(
            "select c.tenant, c.borrower_id, c.contact_id"
            " from unnest(cast(:tenants as text[]), cast(:borrowers as text[]), cast(:ids as text[])) as w(tenant, borrower_id, contact_id)"
            " join notifier.contacts c using (tenant, borrower_id, contact_id) where c.result <> :reserved"
        ),
        {**arrays((one.tenant, one.borrower_id) for one in made), "ids": [one.contact_id for one in made], "reserved": RESERVED},
    )
    return {(row.tenant, row.borrower_id, row.contact_id) for row in rows}


def _slot(row: Row[tuple[object, ...]]) -> Slot:
    contact = Contact(
        row.tenant, row.borrower_id, row.contact_id, row.at, row.channel, row.result, row.by, lookup=row.lookup, kind=row.kind,
        loans=tuple(row.loans), decision=_decision(row.decision),
    )  # fmt: skip
    return Slot(contact, row.reserved_until)


def _explained(made: Contact, slot: Slot) -> Contact:
    """Return a record completed with what its permission knew."""
    held = slot.contact
    return replace(made, lookup=held.lookup or made.lookup, kind=held.kind, loans=made.loans or held.loans, decision=held.decision)


def _made(one: Contact) -> Made:
    return Made(one.contact_id, one.at, one.channel, one.loans)


def _key(one: Contact) -> tuple[str, str, str]:
    return one.tenant, one.borrower_id, one.contact_id
