"""How tests are shared between workers."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

ON_A_BROKER = "tests/contract/bus/"
"""For one worker: one broker a run."""


class OneWorkerForKafka(LoadScopeScheduling):  # type: ignore[misc]  # the library has no types
    """Every test goes to whoever is free, but for those on Kafka, which stay together.

    By their place, not by `xdist_group`: pytest 9.2 no longer lets the library write a group into a test's name, and it says nothing.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "kafka" if nodeid.startswith(ON_A_BROKER) else nodeid
