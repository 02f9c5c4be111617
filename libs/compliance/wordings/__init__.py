"""Word lists by language, as data: what no message may say, what reveals a debt, and what tells a reader how to opt out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from libs.common.shipped import written_in

_LATIN = "[0-9A-Za-z\u00c0-\u024f]"


@dataclass(frozen=True, slots=True)
class Forbidden:
    """One family of wording that no message may contain, and why."""

    family: str
    reason: str
    pattern: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Wordings:
    """The words of one language."""

    language: str
    debt: re.Pattern[str]
    opt_out: re.Pattern[str]
    forbidden: tuple[Forbidden, ...]


@cache
def wordings() -> Mapping[str, Wordings]:
    """Return the shipped lists by language, read once: they are constants."""
    found = [
        _read(written_in(file.read_text(encoding="utf-8")))
        for file in sorted(files(__name__).iterdir(), key=lambda file: file.name)
        if file.name.endswith(".yaml")
    ]
    return MappingProxyType({one.language: one for one in found})


def _read(written: Mapping[str, object]) -> Wordings:
    match written:
        case {"language": str(language), "words": bool(bounded), "debt": list(debt), "opt_out": list(opt_out), "forbidden": list(families)}:
            forbidden = tuple(Forbidden(one["family"], one["reason"], _any(one["says"], bounded=bounded)) for one in families)
            return Wordings(language, _any(debt, bounded=bounded), _any(opt_out, bounded=bounded), forbidden)
    raise ValueError(f"not a list of wordings: {sorted(written)}")


def _any(says: list[str], *, bounded: bool) -> re.Pattern[str]:
    """Return one pattern for all of them; in languages written with spaces each matches whole words only, even next to another script."""
    either = "|".join(f"(?:{one})" for one in says)
    return re.compile(rf"(?<!{_LATIN})(?:{either})(?!{_LATIN})" if bounded else either, re.IGNORECASE)
