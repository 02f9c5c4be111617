"""The policies a batch of cases needs: their tenants' choices, and the versions that cases are pinned to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common import logs
from services.scheduler.domain.builtin import BUILT_IN
from services.scheduler.domain.choosing import Active, Assignment, Choices, InFlight
from services.scheduler.domain.policy import AppliesTo, Policy
from services.scheduler.policies.reading import decode
from services.scheduler.store import policies, trials
from services.scheduler.store.held import UNREADABLE, Held, why_unread
from services.scheduler.store.policies import Which

_NOTHING = Choices()


class AssignmentItem(msgspec.Struct, frozen=True, kw_only=True):
    """An assignment as stored."""

    policy: str
    products: tuple[str, ...] = ()
    jurisdictions: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()

    @property
    def fits(self) -> AppliesTo:
        """Return the debts it is for."""
        return AppliesTo(frozenset(self.products), frozenset(self.jurisdictions), frozenset(self.segments))


@dataclass(frozen=True, slots=True)
class Rules:
    """What was read for a batch."""

    choices: Mapping[str, Choices] = field(default_factory=dict)
    policies: Mapping[Which, Policy] = field(default_factory=dict)
    unread: frozenset[str] = frozenset()
    """Tenants whose choices cannot be read: no case of theirs may be judged without them."""

    def choices_of(self, tenant: str) -> Choices:
        """Return a tenant's choices."""
        return self.choices.get(tenant, _NOTHING)

    def pinned(self, held: Held) -> Policy | None:
        """Return the version a case is pinned to; None if it cannot be found."""
        return self.version(Which(held.case.tenant, held.policy, held.policy_version))

    def version(self, which: Which) -> Policy | None:
        """Return a version of a policy, or None."""
        return BUILT_IN if (which.name, which.version) == (BUILT_IN.name, BUILT_IN.version) else self.policies.get(which)


@dataclass(frozen=True, slots=True)
class Rulebook:
    """Reads policies and keeps them, since a submitted version never changes."""

    kept: dict[Which, Policy] = field(default_factory=dict)

    async def of(self, conn: AsyncConnection, tenants: Iterable[str], now: datetime, *, held: Sequence[Held] = ()) -> Rules:
        """Return these tenants' choices at this moment, and the versions of these cases."""
        wanted = sorted(set(tenants))
        if not wanted:
            return Rules()
        assigned, active = await policies.assigned(conn, wanted), await policies.active(conn, wanted, now)
        pinned = {Which(one.case.tenant, one.policy, one.policy_version) for one in held if one.policy != BUILT_IN.name}
        await self._load(conn, pinned | {which for which, _ in active})
        challengers = await self._challengers(conn, [which for which, _ in active])
        choices: dict[str, Choices] = {}
        for tenant in wanted:
            try:
                actives = {
                    which.name: Active(self.kept[which], InFlight(in_flight), challengers.get(which))
                    for which, in_flight in active
                    if which.tenant == tenant and which in self.kept
                }
                choices[tenant] = Choices(tuple(_assignment(item) for item in items_of(assigned.get(tenant, b"[]"))), actives)
            except UNREADABLE as error:
                logs.get("rulebook").error("choices_unreadable", tenant=tenant, reason=why_unread(error))
        return Rules(choices, self.kept, frozenset(wanted) - choices.keys())

    async def _challengers(self, conn: AsyncConnection, active: Sequence[Which]) -> dict[Which, Policy]:
        """Return the challengers of those with an experiment that was not stopped."""
        known = ((which, self.kept[which].experiment) for which in active if which in self.kept)
        tried = {which: Which(which.tenant, *experiment.challenger) for which, experiment in known if experiment is not None}
        if not tried:
            return {}
        over = await trials.stopped(conn, tried)
        await self._load(conn, set(tried.values()))
        rules = Rules(policies=self.kept)
        found = {champion: rules.version(challenger) for champion, challenger in tried.items() if champion not in over}
        return {champion: policy for champion, policy in found.items() if policy is not None}

    async def _load(self, conn: AsyncConnection, wanted: set[Which]) -> None:
        missing = wanted - self.kept.keys()
        if missing:
            for which, document in await policies.documents(conn, missing):
                try:
                    self.kept[which] = decode(msgspec.json.decode(document), which.version)
                except UNREADABLE as error:
                    logs.get("rulebook").error("policy_unreadable", policy=f"{which.name}@{which.version}", reason=why_unread(error))


def items_of(stored: bytes) -> list[AssignmentItem]:
    """Return stored assignments."""
    return msgspec.json.decode(stored, type=list[AssignmentItem])


def _assignment(item: AssignmentItem) -> Assignment:
    return Assignment(item.policy, item.fits)
