"""What all tests share: a real PostgreSQL, started once."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from libs.common.db.embedded import EmbeddedPostgres
from tests.support.postgres import Databases

settings.register_profile("ci", derandomize=True, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")  # the same examples for the same code: what lands does not depend on a die


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """Fresh databases on a server of this test run.

    Not under pytest's own temporary folder: the next run closes that to the user under whom PostgreSQL runs when root starts it.
    """
    with tempfile.TemporaryDirectory(prefix="dunwell-tests-", ignore_cleanup_errors=True) as folder:
        server = EmbeddedPostgres(Path(folder) / "postgres")
        yield Databases(server)
        asyncio.run(server.stop())
