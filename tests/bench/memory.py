"""The memory of the ingest process as its book grows: after so many loans, and the peak during the overdue report over them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import httpx

from libs.common.clock import WallClock
from tests.bench.events import disbursed
from tests.bench.ingest import require
from tests.bench.intake import taken_in
from tests.bench.stack import PUT, Stack
from tests.support.apart import Apart

PREFIX = "M"
WARM = 2_000
"""Loans before the first measurement: by then, one-time allocations are done."""
SLOWEST = 500
"""Events per second: anything slower is broken."""
MEGABYTE = 1024


async def run(stack: Stack, sizes: Sequence[int]) -> list[str]:
    """Ingest books of these sizes, one on top of the other, and return the figures."""
    lines, now = [], WallClock().now().replace(microsecond=0)
    async with stack.database() as url:
        apart = Apart(url, stack.broker.bootstrap, stack.folder / "memory", partitions=12)
        apart.prepare()
        apart.start("ingest")
        try:
            pid, loans = apart.processes["ingest"].pid, 0
            for size in (WARM, *sizes):
                await _grow(stack, url, range(loans, size), now)
                standing = _kilobytes(pid, "VmRSS")
                _forget_the_highest(pid)
                rows = await _report(apart)
                require("the report's rows", rows, sum(n % 2 for n in range(size)))
                highest = _kilobytes(pid, "VmHWM")
                lines.append(
                    f"  {size:>10,} loans   {standing / MEGABYTE:.0f} MB, and {highest / MEGABYTE:.0f} MB at the highest"
                    f" while {rows:,} rows of the overdue report are streamed"
                )
                loans = size
        finally:
            apart.stop()
    return lines


async def _grow(stack: Stack, url: str, numbers: range, now: datetime) -> None:
    """Send more loans, every second one overdue, and wait until they are ingested."""
    for at in range(numbers.start, numbers.stop, PUT):
        some = range(at, min(at + PUT, numbers.stop))
        await stack.put([disbursed(f"{PREFIX}{n:07d}", n, now).message for n in some])
    await taken_in(url, stack.put_so_far, within_s=60 + len(numbers) / SLOWEST)


async def _report(apart: Apart) -> int:
    """Read the whole report without keeping it, and return its number of loans."""
    rows = 0
    headers = {"Authorization": f"Bearer {apart.key}"}
    async with (
        httpx.AsyncClient(base_url=apart.url("ingest"), headers=headers, timeout=60) as client,
        client.stream("GET", "/v1/overdue-report", params={"format": "csv"}) as answer,
    ):
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            rows += line.startswith("loan,")
    return rows


def _kilobytes(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise SystemExit(f"bench: the process {pid} does not say its {name}")


def _forget_the_highest(pid: int) -> None:
    """Make the kernel reset the process's peak memory."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
