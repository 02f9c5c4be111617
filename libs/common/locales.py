"""The locale for amounts and dates in a text: the language is the text's, the country the reader's."""

from __future__ import annotations

from functools import lru_cache

from babel import Locale, UnknownLocaleError


def written_for(text: str, *readers: str | None) -> str:
    """Return the locale of a text, with the country of the first reader's locale of that language where the text names none.

    Mexico writes 1,020.50 where Spain writes 1.020,50; a text in Spanish may be read in both.
    """
    language, country = _parts(text)
    if country is not None:
        return text
    there = (found for found in map(_parts, filter(None, readers)) if found[0] == language and found[1] is not None)
    return next((f"{language}_{country}" for _, country in there), text)


@lru_cache(maxsize=1024)
def _parts(locale: str) -> tuple[str, str | None]:
    """Return a locale's language, and its country (or larger region, such as `419`) where CLDR knows the combination."""
    language, *rest = locale.replace("_", "-").lower().split("-")
    country = next((tag.upper() for tag in rest if len(tag) == 2 or (len(tag) == 3 and tag.isdigit())), None)
    try:
        return language, country and Locale(language, country).territory
    except UnknownLocaleError:
        return language, None
