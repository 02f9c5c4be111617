"""One replica that leases permits and starts messages by them, in a separate process: `python -m tests.bench.leasing URL SECONDS`."""

from __future__ import annotations

import sys

import uvloop

from libs.common.clock import stopwatch
from libs.common.db.engine import make_engine
from services.notifier.store.queue import Key
from tests.bench.contacts import MORNING
from tests.bench.events import TENANT
from tests.support.leasing import lease_and_start

WANTED = 150
"""Messages due in each claim: more than the rate allows."""


async def lease(url: str, lasts_s: float) -> None:
    """Start what the permits allow, and print the moments."""
    engine, starts = make_engine(url, application="notifier"), list[float]()
    keys = [Key(MORNING, TENANT, "b", str(number)) for number in range(WANTED)]
    print("begin", flush=True)
    ends = stopwatch() + lasts_s
    await lease_and_start(engine, (TENANT, "bench"), keys, starts, lambda: stopwatch() < ends)
    print("end", *starts, flush=True)
    await engine.dispose()


if __name__ == "__main__":
    uvloop.run(lease(sys.argv[1], float(sys.argv[2])))
