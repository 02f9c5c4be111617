"""A hint for who has mistyped a word."""

from collections.abc import Sequence
from difflib import get_close_matches


def near(word: str, known: Sequence[str]) -> str:
    """Return a hint at what was probably meant, or all there is."""
    by_low = {one.lower(): one for one in known}
    found = [by_low[low] for low in get_close_matches(word.lower(), by_low, n=3, cutoff=0.6)]
    return f"did you mean {' or '.join(map(repr, found))}?" if found else f"there are {', '.join(map(repr, known))}"
