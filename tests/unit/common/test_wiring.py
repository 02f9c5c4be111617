"""How the services stand on the bus."""

from __future__ import annotations

import pytest

from libs.common.lifecycle import Service
from tests.support.built import built_platform


@pytest.mark.parametrize("name", ["ingest", "scheduler", "notifier"])
async def test_a_consumer_group_bears_the_name_of_the_program_and_of_its_service(name: str) -> None:
    async with built_platform() as (platform, _):
        service: Service = getattr(platform, name)
    assert [worker.subscription.group for worker in service.consumers] == [f"dunwell-{name}"]
