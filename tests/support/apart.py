"""The three services as separate processes, on a real PostgreSQL and a real Kafka, to be really killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.support.kafka import free_port

SERVICES = ("ingest", "scheduler", "notifier")
READY_WITHIN_S = 60.0
DUNWELL = (sys.executable, "-m", "services.cli")


@dataclass
class Apart:
    """Processes by name, their addresses, and a key that opens all of them."""

    database_url: str
    bootstrap: str
    folder: Path
    partitions: int = 4
    key: str = ""
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def prepare(self) -> None:
        """Make keys, schemas and topics."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.environment = {
            **os.environ, "DUNWELL_DATABASE_URL": self.database_url, "DUNWELL_KAFKA_BOOTSTRAP": self.bootstrap,
            "DUNWELL_PARTITIONS": str(self.partitions), "PYTHONUNBUFFERED": "1", "DUNWELL_DRAIN_SECONDS": "0.2",
        }  # fmt: skip
        made = self.run("keys", "sealing")
        for line in made.splitlines():
            name, _, value = line.partition("=")
            self.environment[name] = value
        self.run("migrate")
        self.run("topics")
        self.key = self.run("keys", "create", "--tenant", "default", "--person", "tester", "--scopes", "all").strip()

    def run(self, *words: str) -> str:
        """Run a command of the program to its end, and return what it printed."""
        done = subprocess.run([*DUNWELL, *words], env=self.environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, *names: str) -> None:
        """Start services and wait until each says that it is ready."""
        for name in names or SERVICES:
            port = self.ports.setdefault(name, free_port())
            log = (self.folder / f"{name}.log").open("ab")
            self.processes[name] = subprocess.Popen(
                [*DUNWELL, name], env={**self.environment, "DUNWELL_PORT": str(port)}, stdout=log, stderr=log
            )
        for name in names or SERVICES:
            self.wait_ready(name)

    def wait_ready(self, name: str) -> None:
        """Return once the service is ready; raise with its log when it is not ready in time."""
        end, last = time.monotonic() + READY_WITHIN_S, ""
        with httpx.Client(
            base_url=self.url(name), verify=False, timeout=10
        ) as client:  # reading certificate authorities takes 20 ms of CPU
            while time.monotonic() < end:
                assert self.processes[name].poll() is None, f"{name} has ended:\n{self.log(name)}"
                try:
                    answer = client.get("/readyz")
                    if answer.status_code == 200:
                        return
                    last = answer.text
                except httpx.TransportError as error:
                    last = repr(error)
                time.sleep(0.1)
        raise AssertionError(f"{name} is not ready: {last}\n{self.log(name)}")

    def kill(self, name: str) -> None:
        """End a service as a power cut would."""
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait(timeout=10)

    def stop(self, *names: str) -> dict[str, int]:
        """End services as an orchestrator would, and return their exit codes."""
        for name in names or tuple(self.processes):
            if self.processes[name].poll() is None:
                self.processes[name].send_signal(signal.SIGTERM)
        return {name: self.processes[name].wait(timeout=60) for name in names or tuple(self.processes)}

    def url(self, name: str) -> str:
        """Return the address of a service."""
        return f"http://127.0.0.1:{self.ports[name]}"

    def client(self, name: str) -> httpx.Client:
        """Return a client of a service with the key."""
        return httpx.Client(base_url=self.url(name), headers={"Authorization": f"Bearer {self.key}"}, timeout=60)

    def log(self, name: str) -> str:
        """Return the end of a service's log."""
        return "\n".join((self.folder / f"{name}.log").read_text(errors="replace").splitlines()[-40:])
