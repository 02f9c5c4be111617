"""What a bus on Kafka says while no broker answers: it passes by itself, and kills no worker."""

from __future__ import annotations

import pytest

from libs.common.bus.kafka import KafkaBus
from libs.common.bus.ports import Message
from libs.common.clock import WallClock
from libs.common.db.failures import is_transient

NOWHERE = "127.0.0.1:1"


async def test_while_no_broker_answers_every_question_fails_in_a_way_that_passes_by_itself() -> None:
    bus = KafkaBus(NOWHERE, clock=WallClock(), client_id="away")
    for asked in (bus.count_partitions(["wallet.loan-events"]), bus.publish([Message("wallet.loan-events", 0, b"k", b"{}", ())])):
        with pytest.raises(Exception, match="broker") as caught:
            await asked
        assert is_transient(caught.value)
    assert "Unable to bootstrap" in str(await bus.ready())
    await bus.close()
