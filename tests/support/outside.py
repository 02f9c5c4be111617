"""Runs the checks of the folder beside the repository against platforms started here: one process, and three services on Kafka.

python -m tests.support.outside --shared ../shared          what must pass; exit status 1 when something does not
python -m tests.support.outside --shared ../shared --all    everything; prints how much passes
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from libs.common.db.embedded import EmbeddedPostgres
from tests.support.apart import DUNWELL, SERVICES, Apart
from tests.support.kafka import broker_in, free_port, kafka_missing

READY_WITHIN_S = 60.0
CHECK_WITHIN_S = 900.0


@dataclass(frozen=True)
class Check:
    """A check: what it runs, and whether it must pass."""

    name: str
    command: Sequence[str]
    required: bool = True


def main() -> int:
    """Run the checks, print each one's result, and return the exit status."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--shared", type=Path, required=True)
    ask.add_argument("--all", action="store_true", help="also run checks that need not pass yet")
    options = ask.parse_args()
    shared = options.shared.resolve()
    results: list[tuple[Check, bool]] = []
    with tempfile.TemporaryDirectory(prefix="dunwell-outside-", ignore_cleanup_errors=True) as folder:
        with one_process(Path(folder) / "up") as url:
            results += run(_of_one_process(shared, url), everything=options.all)
        if (why := kafka_missing()) is None:
            with apart(Path(folder)) as services:
                results += run([_acceptance_apart(shared, services)], everything=options.all)
        else:
            print(f"NOT RUN on Kafka: {why}", flush=True)
            results.append((Check("acceptance, three services on Kafka", ()), False))
    for check, passed in results:
        print(f"{'passed' if passed else 'FAILED'}{'' if check.required else ' (need not pass yet)'}: {check.name}")
    return 0 if all(passed for check, passed in results if check.required) else 1


def run(checks: Sequence[Check], *, everything: bool) -> list[tuple[Check, bool]]:
    """Run checks one after the other, passing their output through."""
    results = []
    for check in checks:
        if not (check.required or everything):
            continue
        print(f"--- {check.name}", flush=True)
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(check.command, timeout=CHECK_WITHIN_S, check=False, env=environment, cwd=tempfile.gettempdir())
        results.append((check, done.returncode == 0))
    return results


@contextmanager
def one_process(folder: Path) -> Iterator[str]:
    """Run `dunwell up` on a free port, and yield its URL."""
    port = free_port()
    process = subprocess.Popen([*DUNWELL, "up", "--port", str(port), "--data", str(folder)])
    try:
        _wait_ready(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


@contextmanager
def apart(folder: Path) -> Iterator[Apart]:
    """Run the three services as processes on their own broker and database."""
    postgres = EmbeddedPostgres(folder / "postgres")
    url = asyncio.run(postgres.create("dunwell"))
    with broker_in(folder / "kafka") as broker:
        services = Apart(url, broker.bootstrap, folder / "services")
        services.prepare()
        services.start()
        try:
            yield services
        finally:
            codes = services.stop()
            asyncio.run(postgres.stop())
            print(f"exit codes after SIGTERM: {codes}", flush=True)


def _of_one_process(shared: Path, url: str) -> list[Check]:
    python = sys.executable
    vectors = [python, str(shared / "conformance" / "check.py"), "--url", f"{url}/ingest"]
    return [
        Check("acceptance, one process", [*_pytest(shared), "--url", url]),
        Check("ledger vectors", vectors),
        Check("ledger vectors, shuffled and repeated", [*vectors, "--shuffle", "7"]),
        Check("compliance cases", [python, str(shared / "compliance" / "check.py"), "--url", f"{url}/notifier"]),
    ]


def _acceptance_apart(shared: Path, services: Apart) -> Check:
    addresses = ",".join(services.url(name) for name in SERVICES)
    return Check("acceptance, three services on Kafka", [*_pytest(shared), "--services", addresses, "--key", services.key])


def _pytest(shared: Path) -> list[str]:
    options = ["-p", "no:cacheprovider", "-p", "no:asyncio", "-c", os.devnull, "--rootdir", str(shared / "acceptance")]
    return [sys.executable, "-m", "pytest", str(shared / "acceptance"), *options]


def _wait_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the platform has ended with {process.returncode}")
        try:
            if httpx.get(f"{url}/readyz", timeout=10).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError("the platform is not ready")


if __name__ == "__main__":
    sys.exit(main())
