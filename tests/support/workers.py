"""How tests are distributed over workers."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

ON_A_BROKER = "tests/contract/bus/"
"""Kept on one worker: there is one broker per run."""


class OneWorkerForKafka(LoadScopeScheduling):  # type: ignore[misc]  # the library has no types
    """Every test goes to any free worker, except those on Kafka, which stay together.

    By path, not by `xdist_group`: pytest 9.2 silently no longer lets the library write a group into a test's name.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "kafka" if nodeid.startswith(ON_A_BROKER) else nodeid
