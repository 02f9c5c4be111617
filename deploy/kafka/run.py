#!/usr/bin/env python3
"""Run one Apache Kafka broker on loopback, without Docker: Java and Maven are enough.

    python deploy/kafka/run.py --port 9092 --folder .dunwell/kafka

Prints one line when the broker answers, stays in the foreground until SIGTERM or SIGINT, and leaves the data in the folder.
For development, tests and CI: one node, no replication, no authentication.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).resolve().parent
POM = HERE / "pom.xml"
READY_WITHIN_S = 90.0
STOP_WITHIN_S = 30
POLL_S = 0.2
PR_SET_PDEATHSIG = 1

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={logs}
auto.create.topics.enable=false
min.insync.replicas=1
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# After a kill -9 the broker may not register again before its last session has ended: 9 s by default.
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
num.network.threads=2
num.io.threads=4
"""


class BrokerError(Exception):
    """The broker cannot be started; the text says why."""


def main(argv: list[str] | None = None) -> int:
    """Start the broker, wait for its end and return the exit status."""
    options = arguments().parse_args(argv)
    try:
        folder = options.folder.resolve()
        with claimed(folder):
            jars = options.jars or fetched_jars()
            return serve(options, jars, prepare(folder, options.port, jars))
    except (BrokerError, OSError) as error:
        sys.stderr.write(f"kafka: {error}\n")
        return 1


def arguments() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description="Run one Apache Kafka broker on loopback.")
    parser.add_argument("--port", type=int, default=9092)
    parser.add_argument("--folder", type=Path, required=True, help="where the data lives; formatted when it is new")
    parser.add_argument("--jars", type=Path, help="a folder with Kafka's jars; without it Maven fetches them once")
    parser.add_argument("--heap", default="512m", help="the JVM's -Xmx")
    parser.add_argument("--with-parent", action="store_true", help="stop when the process that started this one is gone")
    return parser


# Jars


def fetched_jars() -> Path:
    """Return the folder of jars, fetched through Maven when it is absent."""
    target = cache() / f"kafka-{kafka_version()}"
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            fetch(target)
    return target


def fetch(target: Path) -> None:
    """Copy the jars beside the target, then rename: a fetch that dies half-way leaves no half-full target."""
    if shutil.which("mvn") is None:
        raise BrokerError("mvn (Maven) is not on the PATH and --jars was not given")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="fetching-") as folder:
        jars = Path(folder) / "jars"
        command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
        if subprocess.run(command, stdout=sys.stderr, check=False).returncode:  # noqa: S603  (a fixed command)
            raise BrokerError("Maven could not fetch Kafka's jars; its messages are above")
        jars.rename(target)


def cache() -> Path:
    """Return the folder that keeps what was fetched."""
    return Path(os.environ.get("DUNWELL_CACHE") or Path.home() / ".cache" / "dunwell")


def kafka_version() -> str:
    """Return Kafka's version from pom.xml."""
    found = re.search(r"<kafka\.version>([^<]+)<", POM.read_text(encoding="utf-8"))
    if found is None:
        raise BrokerError(f"{POM} names no kafka.version")
    return found.group(1)


# Storage


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold the folder, so that a second runner does not write over the first one's files."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "runner.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BrokerError(f"{folder} is in use by another runner") from None
        yield


def prepare(folder: Path, port: int, jars: Path) -> Path:
    """Write the broker's properties and format a new folder; return the properties file."""
    logs = folder / "logs"
    properties = folder / "server.properties"
    properties.write_text(PROPERTIES.format(port=port, controller=free_port(), logs=logs), encoding="utf-8")
    if not (logs / "meta.properties").exists():
        format_storage(properties, jars)
    return properties


def format_storage(properties: Path, jars: Path) -> None:
    """Give a new folder its cluster id."""
    cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    # "--flag=value": an id may begin with a dash.
    command = [*java(jars, "128m"), "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", f"--config={properties}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (a fixed command)
    if done.returncode:
        raise BrokerError(f"formatting {properties.parent} failed: {done.stdout}{done.stderr}")


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


# The process


def serve(options: argparse.Namespace, jars: Path, properties: Path) -> int:
    """Start the JVM, announce it and stay until it ends."""
    if answers(options.port):
        raise BrokerError(f"port {options.port} is taken by another broker")
    log = ["-XX:+UseSerialGC", f"-Dlog4j2.configurationFile={HERE / 'log4j2.xml'}"]
    command = [*java(jars, options.heap, *log), "kafka.Kafka", str(properties)]
    process = subprocess.Popen(  # noqa: S603  (a fixed command)
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        start_new_session=True,  # Ctrl-C reaches this process only, which then stops the JVM once
        preexec_fn=dies_with(os.getpid()),  # noqa: PLW1509  (this process has no threads)
    )
    stopping = forward_signals(process)
    pid_file = properties.parent / "kafka.pid"
    pid_file.write_text(f"{process.pid}\n", encoding="ascii")
    try:
        wait_until_ready(process, options.port)
        if process.poll() is None:
            sys.stdout.write(f"Kafka is ready on 127.0.0.1:{options.port}\n")
            sys.stdout.flush()
        status = stay(process, with_parent=options.with_parent)
    finally:
        process.kill()
        process.wait()
        pid_file.unlink(missing_ok=True)
    return 0 if stopping else status


def java(jars: Path, heap: str, *flags: str) -> list[str]:
    """Return the beginning of a Java command."""
    if shutil.which("java") is None:
        raise BrokerError("java is not on the PATH (Kafka needs Java 17 or newer)")
    return ["java", f"-Xmx{heap}", *flags, "-cp", f"{jars}/*"]


def dies_with(parent: int) -> Callable[[], None] | None:
    """Return what the child runs before it becomes the JVM: the kernel kills it when its parent is gone, even by kill -9."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)  # loaded here: between fork and exec is no time to load anything

    def ask_the_kernel() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return ask_the_kernel


def forward_signals(process: subprocess.Popen[bytes]) -> list[int]:
    """Pass SIGTERM and SIGINT on to the JVM, and kill it if it takes too long; return the list in which they are noted."""
    received: list[int] = []

    def stop(number: int, _frame: object) -> None:
        received.append(number)
        process.terminate()
        signal.alarm(STOP_WITHIN_S)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGALRM, lambda *_: process.kill())
    return received


def wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    """Return when the broker answers a request, or when the JVM has ended."""
    deadline = time.monotonic() + READY_WITHIN_S
    while process.poll() is None and not answers(port):
        if time.monotonic() > deadline:
            raise BrokerError(f"no answer on port {port} within {READY_WITHIN_S:.0f} s")
        time.sleep(POLL_S)


def stay(process: subprocess.Popen[bytes], *, with_parent: bool) -> int:
    """Return the JVM's exit status, in its own time or after the parent's end."""
    parent = os.getppid()
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(POLL_S if with_parent else None)
        if os.getppid() != parent:
            parent = os.getppid()
            process.terminate()
            signal.alarm(STOP_WITHIN_S)


def answers(port: int) -> bool:
    """Tell whether a broker answers an ApiVersions request (key 18, version 0, correlation 7, no client id)."""
    request = struct.pack(">hhih", 18, 0, 7, -1)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.settimeout(2)
            connection.sendall(struct.pack(">i", len(request)) + request)
            head = connection.makefile("rb").read(10)
    except OSError:
        return False
    return len(head) == 10 and struct.unpack(">iih", head)[1:] == (7, 0)


if __name__ == "__main__":
    sys.exit(main())
