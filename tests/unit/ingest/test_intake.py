"""What a sender is told while the bus is stuck."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest
from starlette.types import Message as Received

from libs.common.bus.ports import Message
from libs.common.errors import DomainError
from libs.common.metrics import Metrics
from services.ingest import observing
from services.ingest.intake import ONE, HttpIntake
from tests.support.wallet import loan


async def stands_still(_: Sequence[Message]) -> None:
    await asyncio.Event().wait()


async def received() -> Received:
    return {"type": "http.request", "body": msgspec.json.encode(loan("L1"))}


async def test_whoever_waits_for_a_broker_in_vain_is_told_so_soon_and_that_a_repeat_is_safe() -> None:
    own = observing.make(Metrics())
    intake = HttpIntake(stands_still, 4, ("default",), own, own.durable, within_s=0.01)
    with pytest.raises(DomainError, match=r"some may still be accepted.*a repeat changes nothing") as told:
        async with asyncio.timeout(5):
            await intake.take("default", ONE, received)
    assert (told.value.status, told.value.headers) == (503, {"Retry-After": "2"})
