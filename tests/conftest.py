"""What all tests share: a real PostgreSQL, started once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from libs.common.db.embedded import EmbeddedPostgres
from tests.support.postgres import Databases


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Fresh databases on a server of this test run."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres") / "data")
    yield Databases(server)
    asyncio.run(server.stop())
