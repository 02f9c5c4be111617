"""What all tests share: a real PostgreSQL, started once."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support.postgres import Databases, quick_databases

settings.register_profile("ci", derandomize=True, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")  # the same examples for the same code: what lands does not depend on a die


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the marks in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what needs Apache Kafka to one worker: one broker a run, and nothing beside it that is timed by another one's start."""
    for item in items:
        if item.get_closest_marker("kafka") is not None:
            item.add_marker(pytest.mark.xdist_group("kafka"))


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """Fresh databases on a server of this test run."""
    with quick_databases() as made:
        yield made
