"""What the borrower's page says, one language a file under `words/`."""

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
"""A name or an amount keeps its own direction within a text of the other one."""


class Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file."""

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
    """In which days and sums are written."""

    def say(self, key: str, /, **given: object) -> str:
        """Return a sentence with what is given in its places."""
        shown = {name: _ISOLATED.format(value) if self.direction == "rtl" else value for name, value in given.items()}
        return self.says[key].format(**shown)

    def day(self, on: date) -> str:
        """Return a date as a reader expects it, its month in letters."""
        return str(format_date(on, "long", locale=self.locale))

    def money(self, amount_minor: int, currency: str) -> str:
        """Return an amount with its currency."""
        return money(amount_minor, currency, self.locale)


@cache
def tongues() -> Mapping[str, Tongue]:
    """Return the shipped languages, read once: they are constants."""
    folder = files(__package__) / "words"
    found = [file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(_SUFFIX)]
    made = [_tongue(msgspec.convert(yaml.safe_load(text), Written)) for text in found]
    return MappingProxyType({one.language: one for one in sorted(made, key=lambda one: one.language)})


def tongue_of(asked: Iterable[str | None]) -> Tongue:
    """Return the first language asked for that there is (`zh-Hant-TW` may read `zh`), else English."""
    known = tongues()
    for tag in asked:
        if tag and (found := known.get(_language(tag))) is not None:
            return replace(found, locale=written_for(found.language, tag))
    return known[FALLBACK]


def accepted(header: str) -> list[str]:
    """Return the languages of an `Accept-Language`, the most wanted first; what cannot be read is left out."""
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
