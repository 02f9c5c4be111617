"""A worker in a separate process, measured from the moment it says `begin` until it says `end`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.bench.machine import cpu_s

WITHIN_S = 300.0


@dataclass(frozen=True)
class Measured:
    """How long so many items took, and the CPU seconds that each process tree used meanwhile."""

    items: int
    seconds: float
    cpu: Mapping[str, float]
    said: str = ""

    @property
    def rate(self) -> float:
        """Return items a second."""
        return self.items / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Return milliseconds of CPU per item, over all processes."""
        return sum(self.cpu.values()) * 1000 / self.items

    @property
    def cpu_parts(self) -> str:
        """Return the same by process, in microseconds."""
        return ", ".join(f"{name} {seconds * 1e6 / self.items:.0f}" for name, seconds in self.cpu.items())


class UnmeasuredError(Exception):
    """A run that was not wrong but inconclusive: it has no figures, and the others continue."""


def enough(what: str, *, there: bool) -> None:
    """Raise UnmeasuredError unless what a figure needs is there."""
    if not there:
        raise UnmeasuredError(what)


class Stopwatch:
    """Wall time and CPU of process trees between two moments."""

    def __init__(self, trees: Mapping[str, int], *, alone: Sequence[int] = ()) -> None:
        """Start counting; the children of processes in `alone` are left out."""
        self._trees, self._alone = trees, alone
        self._cpu = self._read()
        self._began = time.perf_counter()

    def stop(self, items: int, said: str = "") -> Measured:
        """Return what was measured."""
        seconds = time.perf_counter() - self._began
        return Measured(items, seconds, {name: cpu - self._cpu[name] for name, cpu in self._read().items()}, said)

    def _read(self) -> dict[str, float]:
        return {name: cpu_s(pid, descendants=pid not in self._alone) for name, pid in self._trees.items()}


class WorkerProcess:
    """A module of the bench in a separate process; it communicates in lines and ends when its standard input does."""

    def __init__(self, module: str, *words: str, env: Mapping[str, str] | None = None, python: str = sys.executable) -> None:
        command = [python, "-m", f"tests.bench.{module}", *words]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def wait_for(self, word: str) -> str:
        """Return the rest of the line that begins with this word."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            head, _, rest = line.strip().partition(" ")
            if head == word:
                return rest
        raise RuntimeError(f"the worker ended ({self.process.wait()}) before it said {word!r}")

    def say(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def end(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def measured(
    module: str, words: Sequence[str], *, items: int, trees: Mapping[str, int], python: str = sys.executable, told: bool = False
) -> Measured:
    """Run a worker from its `begin` to its `end`; one that must be `told` waits for a line after it has begun."""
    worker = WorkerProcess(module, *words, python=python)
    try:
        worker.wait_for("begin")
        watch = Stopwatch({"client": worker.process.pid, **trees})
        if told:
            worker.say("go")
        return watch.stop(items, worker.wait_for("end"))
    finally:
        worker.end()


def spread(values: Sequence[float], shape: Callable[[float], str]) -> str:
    """Return the median with minimum and maximum."""
    return f"{shape(statistics.median(values))} ({shape(min(values))} to {shape(max(values))})"


def whole(value: float) -> str:
    """Format a rate."""
    return f"{value:,.0f}"


def fine(value: float) -> str:
    """Format a ratio or a duration."""
    return f"{value:.3f}"
