"""How the services stand on the bus."""

from __future__ import annotations

from types import ModuleType

import pytest

from libs.common.lifecycle import Service
from services.ingest.store import keeping as of_ingest
from services.notifier.store import keeping as of_notifier
from services.scheduler.store import keeping as of_scheduler
from tests.support.built import built_platform


@pytest.mark.parametrize("name", ["ingest", "scheduler", "notifier"])
async def test_a_consumer_group_bears_the_name_of_the_program_and_of_its_service(name: str) -> None:
    async with built_platform() as (platform, _):
        service: Service = getattr(platform, name)
    assert [worker.subscription.group for worker in service.consumers] == [f"dunwell-{name}"]


@pytest.mark.parametrize(("name", "forgets"), [("ingest", of_ingest), ("scheduler", of_scheduler), ("notifier", of_notifier)])
async def test_all_that_a_service_can_forget_is_swept(name: str, forgets: ModuleType) -> None:
    async with built_platform() as (platform, _):
        service: Service = getattr(platform, name)
    [sweeper] = [worker.run.__self__ for worker in service.workers if worker.name == "sweeper"]  # type: ignore[attr-defined]  # a method
    assert {sweep.drop for sweep in sweeper.sweeps} == {getattr(forgets, found) for found in dir(forgets) if found.startswith("forget_")}
