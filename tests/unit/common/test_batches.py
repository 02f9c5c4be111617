"""Rows of the Kafka client as records."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from libs.common.bus.batches import record_of


@pytest.mark.parametrize("timestamp", [-(2**63), -1, 2**63 - 1])
def test_no_moment_that_a_publisher_may_write_keeps_a_record_from_being_read(timestamp: int) -> None:
    """One that raises would end every process that reads the partition, again and again."""
    row = SimpleNamespace(topic="t", partition=0, offset=7, key=None, value=b"v", headers=(), timestamp=timestamp)
    assert record_of(row).offset == 7
