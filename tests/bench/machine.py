"""The machine that the figures were measured on, and the CPU time of processes from /proc."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PACKAGES = ("sqlalchemy", "asyncpg", "aiokafka", "msgspec", "fastapi", "uvicorn")


def line(postgres: str) -> str:
    """Describe the machine, and how busy it is on its own."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{os.cpu_count()} cores ({_processor()}), load average {load()}, Linux {platform.release().split('-')[0]},"
        f" Python {platform.python_version()}, PostgreSQL {postgres}, {versions}, revision {_revision()}"
    )


def load() -> str:
    """Return the load averages of the last 1, 5 and 15 minutes."""
    return " ".join(f"{one:.2f}" for one in os.getloadavg())


def cpu_s(root: int, *, descendants: bool = True) -> float:
    """Return the CPU seconds of a process with all its descendants, including ended ones that were waited for; or of itself alone."""
    stats = [found for entry in Path("/proc").iterdir() if entry.name.isdigit() and (found := _stat(entry)) is not None]
    mine, grown = {root}, descendants
    while grown:
        grown = False
        for pid, parent, *_ in stats:
            if parent in mine and pid not in mine:
                mine.add(pid)
                grown = True
    return sum(own + (waited if descendants else 0) for pid, _, own, waited in stats if pid in mine) / TICKS


def compiling_s(pid: int) -> float:
    """Return the CPU seconds of a JVM's compilers: a broker that has run for a day is done compiling."""
    threads = [entry for entry in Path(f"/proc/{pid}/task").iterdir() if _name(entry).startswith(("C1 Compiler", "C2 Compiler"))]
    return sum(found[2] for entry in threads if (found := _stat(entry)) is not None) / TICKS


def _name(thread: Path) -> str:
    try:
        return (thread / "comm").read_text()
    except OSError:
        return ""


def _stat(entry: Path) -> tuple[int, int, int, int] | None:
    """Return (pid, parent, ticks in user and system mode, those of children that were waited for)."""
    try:
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    own, waited = sum(map(int, fields[11:13])), sum(map(int, fields[13:15]))
    return int(entry.name), int(fields[1]), own, waited


def _processor() -> str:
    for entry in Path("/proc/cpuinfo").read_text().splitlines():
        if entry.startswith("model name"):
            return entry.partition(":")[2].strip()
    return platform.machine()


def _revision() -> str:
    commands = (["git", "rev-parse", "--short", "HEAD"], ["git", "status", "--porcelain", "--untracked-files=no"])
    head, changed = (subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() for command in commands)
    return (head or "unknown") + (" with changes" if changed else "")
