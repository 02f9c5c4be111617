"""One mail server for all tests of a run that need it; import `exim` in a conftest."""

from __future__ import annotations

import contextlib
import os

import pytest

from tests.support.exim import Exim, NoEximError, running_exim

_EXIM = pytest.StashKey[Exim]()


@pytest.fixture
def exim(pytestconfig: pytest.Config) -> Exim:
    """The run's mail server, started at first use; skip with one loud line where none is available, and fail in CI."""
    if _EXIM not in pytestconfig.stash:
        stack = contextlib.ExitStack()
        pytestconfig.add_cleanup(stack.close)
        try:
            pytestconfig.stash[_EXIM] = stack.enter_context(running_exim())
        except NoEximError as why:
            if os.environ.get("CI") == "true":
                pytest.fail(f"NO EXIM IN CI: {why}")
            pytest.skip(f"NO EXIM: {why}")
    return pytestconfig.stash[_EXIM]
