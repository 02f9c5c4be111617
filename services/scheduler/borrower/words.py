"""The texts of the borrower's page, one file per language under `words/`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import msgspec
import yaml
from babel import Locale
from babel.dates import format_date

from libs.common.locales import written_for
from libs.common.money import money

FALLBACK = "en"
_SUFFIX = ".yaml"
_ISOLATED = "\u2068{}\u2069"
"""Keeps a name or an amount in its own direction inside text of the other direction."""


class Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The contents of a file."""

    language: str
    says: dict[str, str]


@dataclass(frozen=True, slots=True)
class Tongue:
    """One language of the page."""

    language: str
    direction: str
    name: str
    says: Mapping[str, str]
    locale: str
    """The locale for dates and amounts."""

    def say(self, key: str, /, **given: object) -> str:
        """Return a sentence with its placeholders filled in."""
        shown = {name: _ISOLATED.format(value) if self.direction == "rtl" else value for name, value in given.items()}
        return self.says[key].format(**shown)

    def day(self, on: date) -> str:
        """Return a date as a reader expects it, with the month in letters."""
        return str(format_date(on, "long", locale=self.locale))

    def money(self, amount_minor: int, currency: str) -> str:
        """Return an amount with its currency."""
        return money(amount_minor, currency, self.locale)


@cache
def tongues() -> Mapping[str, Tongue]:
    """Return the shipped languages, read once because they are constant."""
    folder = files(__package__) / "words"
    found = [file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(_SUFFIX)]
    made = [_tongue(msgspec.convert(yaml.safe_load(text), Written)) for text in found]
    return MappingProxyType({one.language: one for one in sorted(made, key=lambda one: one.language)})


def tongue_of(asked: Iterable[str | None]) -> Tongue:
    """Return the first requested language we have (`zh-Hant-TW` falls back to `zh`), else English."""
    known = tongues()
    for tag in asked:
        if tag and (found := known.get(_language(tag))) is not None:
            return replace(found, locale=written_for(found.language, tag))
    return known[FALLBACK]


def accepted(header: str) -> list[str]:
    """Return the languages of an `Accept-Language` header, most preferred first; unreadable ones are left out."""
    wanted = []
    for part in header[:1000].split(","):
        tag, _, quality = part.strip().partition(";q=")
        try:
            wanted.append((-float(quality or 1), tag.strip()))
        except ValueError:
            continue
    return [tag for _, tag in sorted(wanted, key=lambda one: one[0]) if tag]


def _language(tag: str) -> str:
    return tag.replace("_", "-").partition("-")[0].lower()


def _tongue(written: Written) -> Tongue:
    known = Locale.parse(written.language)
    return Tongue(
        written.language, known.text_direction, str(known.get_display_name(known)), MappingProxyType(written.says), written.language
    )
