"""What all tests share: a real PostgreSQL, started once."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from tests.support.postgres import Databases, quick_databases

if TYPE_CHECKING:
    from tests.support.workers import OneWorkerForKafka

settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")
"""No example is timed. In CI the same examples are tried for the same code: what lands does not depend on a die."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneWorkerForKafka:
    """Share the tests between workers, when there are any."""
    from tests.support.workers import OneWorkerForKafka  # noqa: PLC0415  # without workers the library is not needed

    return OneWorkerForKafka(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Let no search for garbage walk again through what was imported for all tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """Fresh databases on a server of this test run."""
    with quick_databases() as made:
        yield made
