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


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """Fresh databases on a server of this test run."""
    with quick_databases() as made:
        yield made
