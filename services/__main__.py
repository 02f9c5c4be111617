"""The program's door: Ctrl-C ends it without a traceback, also while the program is still being read from the disk."""

from __future__ import annotations

import sys

ENDED_BY_HAND = 130


def main() -> None:
    """Load the program and run it."""
    try:
        from services import cli  # noqa: PLC0415  # this takes seconds on a busy machine, and somebody may think better of it

        cli.main()
    except KeyboardInterrupt:
        sys.exit(ENDED_BY_HAND)


if __name__ == "__main__":
    main()
