"""The words looked for in replies, one language a file, as shipped."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

import msgspec

from libs.common.shipped import written_in
from services.notifier.domain.wishes import Wish, Words, bare, plain, spelt

_SUFFIX = ".yaml"


class Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file: see `wishes/README.md`."""

    language: str
    sources: tuple[str, ...]
    spaced: bool = True
    accents: bool = False
    """Whether a word without its accents is a different word."""
    whole: dict[Wish, tuple[str, ...]] = {}
    polite: tuple[str, ...] = ()
    says: dict[Wish, tuple[str, ...]] = {}
    harmless: tuple[str, ...] = ()
    doubt: tuple[str, ...] = ()


@cache
def languages() -> tuple[Words, ...]:
    """Return the shipped words of all languages, read once per process: they never change."""
    folder = files(__package__) / "wishes"
    found = sorted((file for file in folder.iterdir() if file.name.endswith(_SUFFIX)), key=lambda file: file.name)
    return tuple(words_of(msgspec.convert(written_in(file.read_text(encoding="utf-8")), Written)) for file in found)


def words_of(written: Written) -> Words:
    """Return the words of a file in the form in which they are looked for."""
    return Words(
        language=written.language, spaced=written.spaced, accents=written.accents,
        whole={_form(plain(word), written): wish for wish, words in written.whole.items() for word in words},
        polite=tuple(sorted({_form(plain(word), written) for word in written.polite})),
        says={wish: pattern for wish, says in written.says.items() if (pattern := _any(says, written)) is not None},
        harmless=_any(written.harmless, written), doubt=_any(written.doubt, written),
    )  # fmt: skip


def _any(says: tuple[str, ...], written: Written) -> re.Pattern[str] | None:
    """Return one pattern that matches any of these: whole words where words are written apart, otherwise any part of a text."""
    if not says:
        return None
    either = "|".join(f"(?:{_form(spelt(one), written)})" for one in says)
    return re.compile(f"(?<![^ ])(?:{either})(?![^ ])" if written.spaced else either)


def _form(word: str, written: Written) -> str:
    """Return a word in the form in which texts of this language are read."""
    word = word if written.spaced else word.replace(" ", "")
    return word if written.accents else bare(word)
