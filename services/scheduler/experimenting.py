"""Experiments in operation: what must hold when one begins, and the guard that stops one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common import logs
from libs.common.clock import Clock
from libs.common.errors import DomainError
from libs.common.repeating import repeat
from services.scheduler.domain.builtin import BUILT_IN
from services.scheduler.domain.policy import AppliesTo, Policy
from services.scheduler.domain.trials import Passed, passed
from services.scheduler.policies.reading import NotAPolicyError, decode
from services.scheduler.rulebook import Rulebook
from services.scheduler.store import policies, trials
from services.scheduler.store.policies import Doing, Which

LOOK_EVERY_S = 60.0
GUARD = "guardrail"
"""Named in the chain of changes as who stopped an experiment."""


async def begin(conn: AsyncConnection, which: Which, champion: Policy, at: datetime) -> None:
    """Begin the experiment of a version that is being activated, if it has one."""
    experiment = champion.experiment
    if experiment is None:
        return
    name, version = experiment.challenger
    challenger = await _challenger(conn, Which(which.tenant, name, version))
    if (name, version) == (which.name, which.version) or challenger.experiment is not None:
        raise _not_ready(name, version, "is the champion itself, or has an experiment of its own")
    if challenger.applies_to not in {AppliesTo(), champion.applies_to}:
        raise _not_ready(name, version, "is meant for other debts than the champion")
    await trials.begin(conn, which, f"{name}@{version}", at)


async def keep_challenger(conn: AsyncConnection, which: Which, active: set[Which], now: datetime) -> None:
    """Refuse to retire a version that is, or will be, used as a challenger."""
    for champion in await trials.challenged_by(conn, which):
        coming = {one.version for one in await policies.coming(conn, champion.tenant, champion.name, now)}
        if champion in active or champion.version in coming:
            raise DomainError(409, "in_use", f"it is the challenger of {champion.name}@{champion.version}")


@dataclass(frozen=True, slots=True)
class Guard:
    """Stops experiments that exceed a guardrail: no new spell goes to the challenger."""

    engine: AsyncEngine
    clock: Clock
    rulebook: Rulebook

    async def run(self, stop: asyncio.Event) -> None:
        """Check every minute."""

        async def step() -> None:
            await self.look()

        await repeat(step, stop, every_s=LOOK_EVERY_S, worker="scheduler/guard")

    async def look(self) -> int:
        """Check all experiments once; return how many were stopped."""
        number = 0
        for champion in await self._running():
            async with self.engine.begin() as conn:
                number += await self._judge(conn, champion)
        return number

    async def _running(self) -> Mapping[Which, Policy]:
        """Return the active champions whose experiment has not been stopped."""
        async with self.engine.connect() as conn:
            begun = await trials.running(conn)
            rules = await self.rulebook.of(conn, {which.tenant for which in begun}, await self.clock.at(conn))
        found = ((which, rules.choices_of(which.tenant).active.get(which.name)) for which in begun)
        return {which: active.policy for which, active in found if active is not None and active.policy.version == which.version}

    async def _judge(self, conn: AsyncConnection, champion: Which) -> bool:
        policy = self.rulebook.kept[champion]
        if policy.experiment is None:
            return False
        broken = passed(policy.experiment.stop_when, await trials.counted(conn, champion))
        if broken is None:
            return False
        last = await policies.hold(conn, champion.tenant, champion.name)
        doing = Doing(GUARD, await self.clock.at(conn))
        if not await trials.stop(conn, champion, broken.guardrail, doing.at):
            return False
        detail = msgspec.json.encode(_why(broken), order="deterministic")
        await policies.add_link(conn, last, doing, "experiment_stopped", version=champion.version, detail=detail)
        logs.get("guard").warning("experiment_stopped", policy=f"{champion.name}@{champion.version}", reason=broken.guardrail)
        return True


def _why(broken: Passed) -> dict[str, object]:
    return {
        "guardrail": broken.guardrail, "limit": broken.limit, "rate": broken.rate, "cases": broken.cases, "number": broken.number,
    }  # fmt: skip


async def _challenger(conn: AsyncConnection, which: Which) -> Policy:
    if (which.name, which.version) == (BUILT_IN.name, BUILT_IN.version):
        return BUILT_IN
    row = await policies.find(conn, which)
    if row is None or row.state != "approved":
        raise _not_ready(which.name, which.version, "is not approved" if row else "is not known")
    try:
        return decode(msgspec.json.decode(row.document), which.version)
    except NotAPolicyError:
        raise _not_ready(which.name, which.version, "is not understood by this release") from None


def _not_ready(name: str, version: int, why: str) -> DomainError:
    return DomainError(409, "challenger_not_ready", f"the challenger {name}@{version} {why}")
