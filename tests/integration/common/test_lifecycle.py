"""How a process ends: real processes, real signals."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.kafka import free_port
from tests.support.running import until

TINY = Path(__file__).with_name("tiny_app.py")
ROOT = Path(__file__).resolve().parents[3]
DRAIN_S = 0.6


@dataclass
class Tiny:
    """The process and a client of it."""

    process: asyncio.subprocess.Process
    client: httpx.AsyncClient

    async def ready(self) -> bool:
        try:
            return (await self.client.get("/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    async def says_not_ready(self) -> str:
        """Return the reason that a probe gets once it gets one."""
        answers: list[str] = []

        async def asked() -> bool:
            answer = await self.client.get("/readyz")
            answers.append(answer.text)
            return answer.status_code == 503

        await until(asked, what="not ready")
        return answers[-1]

    async def ended(self) -> tuple[int, str]:
        """Return the exit code and what was printed."""
        async with asyncio.timeout(20):
            printed, _ = await self.process.communicate()
        return self.process.returncode or 0, printed.decode()


@asynccontextmanager
async def tiny(worker: str = "waits", drain_s: float = DRAIN_S) -> AsyncIterator[Tiny]:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(TINY), str(port), worker, str(drain_s), cwd=ROOT, env={"PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        made = Tiny(process, client)
        try:
            await until(made.ready, what="the process")
            yield made
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.mark.parametrize(("worker", "reason"), [("raises", "a fault of ours"), ("returns", "it returned without being asked to stop")])
async def test_a_dead_worker_ends_the_process_and_readiness_says_why_before(worker: str, reason: str) -> None:
    async with tiny(worker) as one:
        await one.client.post("/die")
        said = await one.says_not_ready()
        assert reason in (await one.client.get("/readyz")).text, "whoever balances the load must have time to see it"
        assert "worker tiny/one died" in said
        assert reason in said
        code, printed = await one.ended()
        assert (code, printed.strip()) == (70, "closed")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_when_asked_to_end_it_is_not_ready_first_goes_on_serving_and_ends_well(number: signal.Signals) -> None:
    async with tiny() as one:
        one.process.send_signal(number)
        assert number.name in await one.says_not_ready()
        assert (await one.client.get("/slow")).json() == {"status": "finished"}
        assert await one.ended() == (0, "closed\n")


async def test_a_request_that_is_under_way_at_the_end_of_the_drain_is_answered() -> None:
    async with tiny(drain_s=0.1) as one:
        asking = asyncio.create_task(one.client.get("/slow"))
        await until(lambda: not asking.done(), what="the request")
        await one.client.get("/readyz")
        one.process.send_signal(signal.SIGTERM)
        assert (await asking).status_code == 200
        assert (await one.ended())[0] == 0


async def test_a_second_signal_changes_nothing() -> None:
    async with tiny() as one:
        one.process.send_signal(signal.SIGTERM)
        await one.says_not_ready()
        one.process.send_signal(signal.SIGTERM)
        assert (await one.client.get("/slow")).status_code == 200
        assert (await one.ended())[0] == 0


async def test_a_port_that_is_taken_ends_the_process_with_another_code_than_a_dead_worker() -> None:
    async with tiny() as one:
        port = one.client.base_url.port
        second = await asyncio.create_subprocess_exec(
            sys.executable, str(TINY), str(port), "waits", "0.1", cwd=ROOT, env={"PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        async with asyncio.timeout(20):
            assert await second.wait() not in (0, 70)
        assert await one.ready()
