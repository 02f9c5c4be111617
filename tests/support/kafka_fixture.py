"""One broker for all tests of a run that need Kafka; import `kafka` in a conftest."""

from __future__ import annotations

import os

import pytest

from tests.support.kafka import Broker, kafka_missing

_BROKER = pytest.StashKey[Broker]()


def need_kafka() -> None:
    """Skip where no broker can be started, with one loud line; in CI that is a failure."""
    if (why := kafka_missing()) is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"NO KAFKA IN CI: {why}")
        pytest.skip(f"NO KAFKA: {why}")


@pytest.fixture
def kafka(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Broker:
    """The run's broker, answering: started at first use, started again where a test has left it dead."""
    need_kafka()
    if _BROKER not in pytestconfig.stash:
        broker = Broker.start(tmp_path_factory.mktemp("kafka") / "data")
        pytestconfig.stash[_BROKER] = broker
        pytestconfig.add_cleanup(broker.stop)
    broker = pytestconfig.stash[_BROKER]
    if not broker.running:
        broker.restart()
    return broker
