"""The locales in which a reader's text is looked for."""

from __future__ import annotations

from functools import lru_cache

LAST = "en"
"""The locale in which everything is shipped."""


def canonical(locale: str) -> str:
    """Return a locale in BCP 47 form: `zh_hant_tw` becomes `zh-Hant-TW`."""
    language, *rest = locale.replace("_", "-").split("-")
    return "-".join([language.lower(), *map(_subtag, rest)])


@lru_cache(maxsize=1024)
def fallback(*wanted: str | None) -> tuple[str, ...]:
    """Return the order in which to look: each of these locales (the reader's first) with those it is part of, then English."""
    named = [canonical(one) for one in wanted if one]
    return tuple(dict.fromkeys([*(wider for one in named for wider in _wider(one)), LAST]))


def _subtag(tag: str) -> str:
    if len(tag) == 4 and tag.isalpha():
        return tag.title()
    return tag.upper() if len(tag) == 2 or (len(tag) == 3 and tag.isdigit()) else tag.lower()


def _wider(locale: str) -> list[str]:
    """Return a locale and those it is part of; a single-letter subtag only introduces what follows it (RFC 4647, 3.4)."""
    tags = locale.split("-")
    return ["-".join(tags[:end]) for end in range(len(tags), 0, -1) if end == 1 or len(tags[end - 1]) > 1]
