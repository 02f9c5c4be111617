"""The program's entry point: Ctrl-C ends it without a traceback, even while it is still loading."""

from __future__ import annotations

import sys

ENDED_BY_HAND = 130


def main() -> None:
    """Load the program and run it."""
    try:
        from services import cli  # noqa: PLC0415  # this takes seconds on a busy machine, during which Ctrl-C must work

        cli.main()
    except KeyboardInterrupt:
        sys.exit(ENDED_BY_HAND)


if __name__ == "__main__":
    main()
