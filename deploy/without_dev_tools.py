"""Remove from this environment what Dunwell does not need at run time: the lock includes development tools."""  # noqa: INP001  # a script of the image

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = "dunwell"

Wanted = tuple[str, frozenset[str]]
"""(package, extras)."""


def main() -> None:
    """Uninstall, pip last of all: the image does not need it either."""
    installed: dict[str, Distribution] = {canonicalize_name(found.metadata["Name"]): found for found in distributions()}
    surplus = sorted(set(installed) - needed(installed) - {"pip"})
    sys.stdout.write(f"not needed at run time: {', '.join(surplus)}\n")
    subprocess.run([sys.executable, "-m", "pip", "uninstall", "--yes", *surplus, "pip"], check=True)  # noqa: S603  # names of installed packages


def needed(installed: dict[str, Distribution]) -> set[str]:
    """Return the packages that the root requires, directly or indirectly."""
    todo: list[Wanted] = [(ROOT, frozenset())]
    seen: set[Wanted] = set()
    while todo:
        wanted = todo.pop()
        if wanted not in seen and wanted[0] in installed:
            seen.add(wanted)
            todo += required(installed[wanted[0]], wanted[1])
    return {name for name, _ in seen}


def required(package: Distribution, extras: frozenset[str]) -> Iterator[Wanted]:
    """Yield what a package with these extras requires in this environment."""
    for text in package.requires or ():
        asked = Requirement(text)
        if asked.marker is None or any(asked.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield canonicalize_name(asked.name), frozenset(asked.extras)


if __name__ == "__main__":
    main()
