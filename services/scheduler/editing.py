"""The life of a policy version: drafted, submitted, decided on by another person, activated from a moment on, retired."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.auth import Principal
from libs.common.clock import Clock
from libs.common.errors import DomainError
from libs.common.preconditions import expect, tag_of
from libs.compliance import Packs, load_packs
from services.scheduler import experimenting
from services.scheduler.domain.builtin import BUILT_IN
from services.scheduler.domain.chain import Link
from services.scheduler.domain.choosing import InFlight
from services.scheduler.elsewhere import Asking, Elsewhere, NoAnswerError
from services.scheduler.finding import named
from services.scheduler.house_settings import house_settings
from services.scheduler.policies.lint import Law, warnings
from services.scheduler.policies.places import Fault
from services.scheduler.policies.reading import Document, policy_of, understand
from services.scheduler.policies.texts import NoTexts, Texts, text_warnings
from services.scheduler.proposing import fault_shown, seen
from services.scheduler.rulebook import AssignmentItem, items_of
from services.scheduler.store import changes, policies
from services.scheduler.store.policies import Doing, Which

ASSIGNMENTS = "~assignments"
"""The chain of changes to the assignments; no policy can have this name."""
_encode = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True)
class Checked:
    """A document and the faults and warnings about it."""

    document: Document
    warnings: tuple[Fault, ...]

    @property
    def shown(self) -> dict[str, Any]:
        """Return errors and warnings as the API shows them."""
        return {"errors": [fault_shown(one) for one in self.document.faults], "warnings": [fault_shown(one) for one in self.warnings]}


@dataclass(slots=True)
class PolicyDesk:
    """Carries out what people do with policies, and records each change in its chain."""

    engine: AsyncEngine
    clock: Clock
    elsewhere: Elsewhere = field(default_factory=Elsewhere)
    needs_simulation: bool = False
    """Whether a policy must be simulated before it is approved."""
    _packs: Packs | None = field(default=None)

    async def check(self, asking: Asking, text: str, jurisdictions: Sequence[str] = ()) -> Checked:
        """Find what is wrong with a document, and what deserves a second look in the places where it is to be used."""
        return await self._checked(asking, understand(text), jurisdictions)

    async def draft(self, caller: Principal, asking: Asking, text: str) -> tuple[RowMapping, Checked]:
        """Write a draft of the next version."""
        document = _readable(text)
        name = document.name or ""
        async with self.engine.begin() as conn:
            last, doing = await policies.hold(conn, caller.tenant, name), await self._doing(conn, caller)
            which = Which(caller.tenant, name, await policies.newest(conn, caller.tenant, name) + 1)
            await policies.add_draft(conn, which, doing, source=text, document=_encode(document.read.value))
            await policies.add_link(conn, last, doing, "drafted", version=which.version, detail=_encode(_written(document)))
            row = await _version(conn, which)
        return row, await self._checked(asking, document)

    async def rewrite(
        self, caller: Principal, asking: Asking, which: Which, text: str, *, if_match: str | None
    ) -> tuple[RowMapping, Checked]:
        """Rewrite a draft, if it is still as its writer last saw it."""
        document = _readable(text)
        if document.name != which.name:
            raise DomainError(422, "invalid_policy", f"the document is about {document.name}, not {which.name}")
        async with self.engine.begin() as conn:
            last, row, doing = await self._held(conn, caller, which)
            expect(if_match, etag(row))
            _must_be(row, "draft")
            await policies.rewrite_draft(conn, which, doing, source=text, document=_encode(document.read.value))
            await policies.add_link(conn, last, doing, "rewritten", version=which.version, detail=_encode(_written(document)))
            row = await _version(conn, which)
        return row, await self._checked(asking, document)

    async def submit(self, caller: Principal, asking: Asking, which: Which) -> tuple[RowMapping, Checked]:
        """Submit a draft for a decision; it never changes after this."""
        async with self.engine.begin() as conn:
            last, row, doing = await self._held(conn, caller, which)
            _must_be(row, "draft")
            document = understand(row.source)
            if document.faults:
                raise DomainError(422, "invalid_policy", "it has errors and cannot be submitted", **Checked(document, ()).shown)
            await policies.put_state(conn, which, doing, "submitted")
            await policies.add_link(conn, last, doing, "submitted", version=which.version, detail=_encode(_written(document)))
            row = await _version(conn, which)
        return row, await self._checked(asking, document)

    async def decide(
        self, caller: Principal, which: Which, state: str, comment: str | None, *, simulation: str | None = None
    ) -> RowMapping:  # fmt: skip
        """Approve or reject what somebody else wrote and submitted, on the basis of the named simulation."""
        if caller.person is None:
            raise DomainError(403, "forbidden", "only a person can decide on a policy, and this key is not a person's")
        async with self.engine.begin() as conn:
            last, row, doing = await self._held(conn, caller, which)
            _must_be(row, "submitted")
            if doing.by in {*row.writers, row.submitted_by}:
                raise DomainError(403, "own_work", "somebody other than its writers and submitter must decide")
            needed = self.needs_simulation and state == "approved"
            known = await seen(conn, row, which, simulation, needed=needed)
            await policies.put_state(conn, which, doing, state, comment=comment)
            detail = {"comment": comment}
            if known is not None:
                await policies.pin_simulation(conn, which, known.simulation_id, known.hash)
                detail |= {"simulation": known.simulation_id, "simulation_hash": known.hash}
            await policies.add_link(conn, last, doing, state, version=which.version, detail=_encode(detail))
            return await _version(conn, which)

    async def activate(self, caller: Principal, which: Which, effective_at: datetime | None, in_flight: InFlight) -> dict[str, Any]:
        """Make an approved version active from a moment on."""
        async with self.engine.begin() as conn:
            last, row, doing = await self._held(conn, caller, which)
            _must_be(row, "approved")
            at = doing.at if effective_at is None else effective_at
            if at < doing.at:
                raise DomainError(422, "invalid_request", "effective_at is in the past; leave it out to activate the version at once")
            document = understand(row.source)
            if document.faults or document.form is None:
                raise DomainError(409, "not_understood", "this release no longer understands this version; write a new one")
            await experimenting.begin(conn, which, policy_of(document.form, which.version), at)
            await policies.activate(conn, which, doing, effective_at=at, in_flight=in_flight.value)
            await changes.add(conn, caller.tenant, f"{which.name}@{which.version}/{last.seq + 1}", at, wakes=in_flight is not InFlight.PIN)
            detail = {"effective_at": at, "in_flight": in_flight.value}
            await policies.add_link(conn, last, doing, "activated", version=which.version, detail=_encode(detail))
        return {"policy": which.name, "version": which.version, **detail}

    async def withdraw(self, caller: Principal, which: Which) -> dict[str, Any]:
        """Withdraw a version's upcoming activations."""
        async with self.engine.begin() as conn:
            last, _, doing = await self._held(conn, caller, which)
            if not (moments := await policies.withdraw(conn, which, doing.at)):
                raise DomainError(409, "nothing_coming", "this version has no upcoming activation")
            await policies.add_link(conn, last, doing, "withdrawn", version=which.version, detail=_encode({"effective_at": moments}))
        return {"policy": which.name, "version": which.version, "withdrawn": moments}

    async def retire(self, caller: Principal, which: Which) -> RowMapping:
        """Take a version out of use; running spells continue under it."""
        async with self.engine.begin() as conn:
            last, row, doing = await self._held(conn, caller, which)
            _must_be(row, "submitted", "approved", "rejected", "draft")
            active = {one for one, _ in await policies.active(conn, [caller.tenant], doing.at)}
            coming = {one.version for one in await policies.coming(conn, caller.tenant, which.name, doing.at)}
            if which in active or which.version in coming:
                raise DomainError(409, "in_use", "it is active (activate another version first) or will be (withdraw its activation)")
            await experimenting.keep_challenger(conn, which, active, doing.at)
            await policies.put_state(conn, which, doing, "retired")
            await policies.add_link(conn, last, doing, "retired", version=which.version, detail=b"{}")
            return await _version(conn, which)

    async def assign(self, caller: Principal, items: Sequence[AssignmentItem], if_match: str | None) -> int:
        """Replace the tenant's assignments; return their revision."""
        async with self.engine.begin() as conn:
            last, doing = await policies.hold(conn, caller.tenant, ASSIGNMENTS), await self._doing(conn, caller)
            revision, before = await policies.assignments(conn, caller.tenant)
            expect(if_match, tag_of(revision))
            active = {which.name for which, _ in await policies.active(conn, [caller.tenant], doing.at)}
            if unknown := sorted({item.policy for item in items} - active - {BUILT_IN.name}):
                raise DomainError(422, "no_active_version", f"no version is active for {', '.join(unknown)}")
            await policies.assign(conn, caller.tenant, doing, _encode(list(items)))
            await changes.add(conn, caller.tenant, f"{ASSIGNMENTS}/{last.seq + 1}", doing.at, wakes=False)
            detail = {"items": list(items), "before": items_of(before)}
            await policies.add_link(conn, last, doing, "assigned", version=None, detail=_encode(detail))
        return revision + 1

    async def history(self, tenant: str, name: str, *, after: int, limit: int) -> list[Link]:
        """Return the changes to a policy, in order."""
        async with self.engine.connect() as conn:
            found = await policies.links(conn, tenant, name, after=after, limit=limit)
        if not found and not after and name != ASSIGNMENTS:
            raise DomainError(404, "not_found", f"no policy {name[:128]} is known")
        return found

    async def packs(self) -> Packs:
        """Return the rules of all jurisdictions, read once."""
        if self._packs is None:
            self._packs = await asyncio.to_thread(load_packs)
        return self._packs

    async def _checked(self, asking: Asking, document: Document, jurisdictions: Sequence[str] = ()) -> Checked:
        """Collect the warnings, off the event loop because the gate is asked many times."""
        if document.form is None:
            return Checked(document, ())
        wanted = {*jurisdictions, *(document.form.applies_to.jurisdictions or () if document.form.applies_to else ())}
        async with self.engine.connect() as conn:
            _, stored = await policies.assignments(conn, asking.tenant)
            now = await self.clock.at(conn)
        for item in items_of(stored):
            wanted |= set(item.jurisdictions) if item.policy == document.form.policy else set()
        law = Law(await self.packs(), tuple(sorted(wanted)), now, (await house_settings(self.elsewhere, asking)).house)
        texts = text_warnings(document, await self._texts(asking))
        found = (*await asyncio.to_thread(warnings, document, law), *texts)
        return Checked(document, tuple(sorted(found, key=lambda fault: (fault.place.line, fault.place.column, fault.error))))

    async def _texts(self, asking: Asking) -> Texts | NoTexts:
        """Return the texts in force at the notifier; if it cannot be asked, the reason."""
        try:
            items = await self.elsewhere.read_all("notifier", "/v1/templates", asking, limit="1000")
            settings = await self.elsewhere.read("notifier", "/v1/settings", asking)
        except NoAnswerError as error:
            return NoTexts(str(error))
        there = frozenset((one["name"], one["channel"], one["locale"]) for one in items if one["state"] != "none")
        return Texts(there, settings["settings"]["default_locale"] if settings else None)

    async def _doing(self, conn: AsyncConnection, caller: Principal) -> Doing:
        return Doing(named(caller), await self.clock.at(conn))

    async def _held(self, conn: AsyncConnection, caller: Principal, which: Which) -> tuple[Link, RowMapping, Doing]:
        """Lock the chain of a policy, so that nobody else changes it, and read a version."""
        await _version(conn, which)
        last = await policies.hold(conn, which.tenant, which.name)
        return last, await _version(conn, which), await self._doing(conn, caller)


def etag(row: RowMapping) -> str:
    """Return the ETag of a version in its current state."""
    return f'"{row.version}.{row.revision}"'


def _readable(text: str) -> Document:
    """Read a draft; it may have errors, but must be a document that names its policy."""
    document = understand(text)
    if document.read.faults or document.name is None:
        shown = Checked(document, ()).shown
        raise DomainError(422, "invalid_policy", "a draft must be a document with the key `policy`", **shown)
    if any(fault.path == "policy" for fault in document.faults):
        raise DomainError(422, "invalid_policy", "this is not a valid name for a policy", **Checked(document, ()).shown)
    return document


def _written(document: Document) -> dict[str, Any]:
    return {"document": document.read.value}


def _must_be(row: RowMapping, *states: str) -> None:
    if row.state not in states:
        raise DomainError(409, "wrong_state", f"version {row.version} is {row.state}, not {' or '.join(states)}", state=row.state)


async def _version(conn: AsyncConnection, which: Which) -> RowMapping:
    if (row := await policies.find(conn, which)) is None:
        raise DomainError(404, "not_found", f"no version {which.version} of {which.name[:128]} is known")
    return row
