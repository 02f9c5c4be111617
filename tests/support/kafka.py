"""A real Kafka for tests: started once a session, killed and restarted by the chaos tests.

`KAFKA_BOOTSTRAP=host:port` makes the tests use a broker that already runs; such a broker is never stopped or killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

RUNNER = Path(__file__).resolve().parents[2] / "deploy" / "kafka" / "run.py"
START_WITHIN_S = 240  # a first start fetches the jars
STOP_WITHIN_S = 60
SHORT_LIVED = "-XX:TieredStopAtLevel=1"
"""Saves a broker that lives for a few tests a third of its CPU: it ends before the JVM's longer optimisations would pay off."""


def kafka_missing() -> str | None:
    """Return why Kafka cannot be started here, or None when it can."""
    if os.environ.get("KAFKA_BOOTSTRAP"):
        return None
    missing = [program for program in ("java", "mvn") if shutil.which(program) is None]
    return f"Kafka needs {' and '.join(missing)} on the PATH, or KAFKA_BOOTSTRAP" if missing else None


class Broker:
    """One Kafka broker on loopback, or the external one named by KAFKA_BOOTSTRAP."""

    def __init__(self, folder: Path, port: int | None = None, *, java_options: str = "") -> None:
        self._external = os.environ.get("KAFKA_BOOTSTRAP")
        self._folder = folder
        self._port = port or free_port()
        self._java_options = java_options
        self._runner: subprocess.Popen[str] | None = None

    @classmethod
    def start(cls, folder: Path, port: int | None = None, *, java_options: str = "") -> Broker:
        """Start a broker whose data live in the folder; return when it answers."""
        broker = cls(folder, port, java_options=java_options)
        broker.restart()
        return broker

    @property
    def bootstrap(self) -> str:
        """What clients connect to; the same after a restart."""
        return self._external or f"127.0.0.1:{self._port}"

    @property
    def killable(self) -> bool:
        """Whether stop, kill and restart act on a broker of ours."""
        return self._external is None

    @property
    def running(self) -> bool:
        """Whether the broker should answer."""
        return not self.killable or (self._runner is not None and self._runner.poll() is None)

    @property
    def log(self) -> Path:
        """What the broker wrote, over all its restarts."""
        return self._folder / "broker.log"

    def stop(self) -> None:
        """Shut the broker down cleanly."""
        if self._runner is not None and self.killable:
            self._runner.terminate()
            self._ended()

    def kill(self) -> None:
        """End the broker as a power cut would (kill -9 of the JVM); its data stay in the folder."""
        if not self.killable:
            raise RuntimeError("the broker of KAFKA_BOOTSTRAP is not ours to kill")
        os.kill(self.pid, signal.SIGKILL)
        self._ended()

    @property
    def pid(self) -> int:
        """The JVM's process id."""
        return int((self._folder / "kafka.pid").read_text(encoding="ascii"))

    def restart(self) -> None:
        """Start again on the same folder and port, after a stop, a kill or from a running state."""
        if not self.killable:
            return
        self.stop()
        self._folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(RUNNER), "--port", str(self._port), "--folder", str(self._folder), "--with-parent"]
        options = " ".join(filter(None, (os.environ.get("JDK_JAVA_OPTIONS"), self._java_options)))
        environment = {**os.environ, "JDK_JAVA_OPTIONS": options}
        with self.log.open("a", encoding="utf-8") as log:
            self._runner = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, bufsize=1, env=environment)
        if not self._said_ready(self._runner):
            self.stop()
            raise RuntimeError(f"Kafka did not start; the end of {self.log.name}:\n{self.log.read_text(encoding='utf-8')[-2000:]}")

    def _ended(self) -> None:
        runner, self._runner = self._runner, None
        if runner is None:
            return
        try:
            runner.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            runner.kill()  # the kernel then kills the JVM
            runner.wait()
        if runner.stdout is not None:
            runner.stdout.close()

    @staticmethod
    def _said_ready(runner: subprocess.Popen[str]) -> bool:
        said: Queue[str] = Queue()
        output = runner.stdout
        assert output is not None
        reader = Thread(target=lambda: said.put(output.readline()), daemon=True)
        reader.start()
        try:
            return said.get(timeout=START_WITHIN_S).startswith("Kafka is ready")
        except Empty:
            return False


@contextmanager
def broker_in(folder: Path) -> Iterator[Broker]:
    """Yield a started broker and stop it afterwards: the body of a session fixture."""
    broker = Broker.start(folder, java_options=SHORT_LIVED)
    try:
        yield broker
    finally:
        broker.stop()


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
