"""One broker for all tests of a run that need Kafka; import `kafka` in a conftest."""

from __future__ import annotations

import contextlib
import os

import pytest

from tests.support.kafka import Broker, broker_in, kafka_missing
from tests.support.memory import folder_in_memory

_BROKER = pytest.StashKey[Broker]()


def need_kafka() -> None:
    """Skip where no broker can be started, with one loud line; in CI that is a failure."""
    if (why := kafka_missing()) is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"NO KAFKA IN CI: {why}")
        pytest.skip(f"NO KAFKA: {why}")


@pytest.fixture
def kafka(pytestconfig: pytest.Config) -> Broker:
    """The run's broker, answering: started at first use, and restarted if a test has left it dead."""
    need_kafka()
    if _BROKER not in pytestconfig.stash:
        stack = contextlib.ExitStack()
        pytestconfig.add_cleanup(stack.close)
        pytestconfig.stash[_BROKER] = stack.enter_context(broker_in(stack.enter_context(folder_in_memory()) / "kafka"))
    broker = pytestconfig.stash[_BROKER]
    if not broker.running:
        broker.restart()
    return broker
