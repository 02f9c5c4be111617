"""A worker in a process of its own, measured from the moment it says `begin` to the moment it says `end`."""

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
    """How long so many items took, and the CPU seconds of each process tree meanwhile."""

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
        """Return milliseconds of CPU an item, over all processes."""
        return sum(self.cpu.values()) * 1000 / self.items

    @property
    def cpu_parts(self) -> str:
        """Return the same by process, in microseconds."""
        return ", ".join(f"{name} {seconds * 1e6 / self.items:.0f}" for name, seconds in self.cpu.items())


class UnmeasuredError(Exception):
    """A run that was not wrong, and of which nothing can be said: it has no figures, and the others go on."""


def enough(what: str, *, there: bool) -> None:
    """Say that nothing can be said, unless that is there which a figure needs."""
    if not there:
        raise UnmeasuredError(what)


class Stopwatch:
    """Wall time and CPU of process trees between two moments."""

    def __init__(self, trees: Mapping[str, int], *, alone: Sequence[int] = ()) -> None:
        """Begin to count; of the processes in `alone` their children are not."""
        self._trees, self._alone = trees, alone
        self._cpu = self._read()
        self._began = time.perf_counter()

    def stop(self, items: int, said: str = "") -> Measured:
        """Return what has passed."""
        seconds = time.perf_counter() - self._began
        return Measured(items, seconds, {name: cpu - self._cpu[name] for name, cpu in self._read().items()}, said)

    def _read(self) -> dict[str, float]:
        return {name: cpu_s(pid, descendants=pid not in self._alone) for name, pid in self._trees.items()}


class WorkerProcess:
    """A module of the bench in a process of its own; it talks in lines and ends when its standard input does."""

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
        """Let it end."""
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
    """Run a worker from its `begin` to its `end`; one that must be `told` waits for a line when it has begun."""
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
    """Return the median with the least and the greatest."""
    return f"{shape(statistics.median(values))} ({shape(min(values))} to {shape(max(values))})"


def whole(value: float) -> str:
    """Write a rate."""
    return f"{value:,.0f}"


def fine(value: float) -> str:
    """Write a ratio or a duration."""
    return f"{value:.3f}"
