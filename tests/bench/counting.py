"""How a peer of the bench reports what it received: a line on its standard input asks."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping


async def until_the_input_ends(seen: list[str], more: Mapping[str, Callable[[], str]] | None = None) -> None:
    """Print on `count` and `peek` how many arrived, for how many places; `count` resets. `more` has further words with their answers."""
    while line := await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        word = line.strip()
        if more and word in more:
            print(f"{word} {more[word]()}", flush=True)
            continue
        print(f"took {len(seen)} {len(set(seen))}", flush=True)
        if word == "count":
            seen.clear()
