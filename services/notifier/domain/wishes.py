"""What a reply wishes for, recognised by words kept as data: pure, and independent of punctuation, case, width and spacing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

LONGEST = 2000
"""How many characters are read; a text message has at most 1,600, and what a mail quotes is not a wish."""
_REMOVED = frozenset("'\u2019\u2018\u02bc`\u00b4\u0307\u0640\u034f\u115f\u1160") | {
    chr(mark) for first, last in ((0x064B, 0x0652), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF)) for mark in range(first, last + 1)
}
"""Removed wherever they occur: apostrophes, the dot of a Turkish capital, Arabic points and stretching, emoji variation selectors."""
_STOP_SIGN = 0x1F6D1
_BOXED = {begin + place: chr(ord("a") + place) for begin in (0x1F170, 0x1F1E6) for place in range(26)}
"""Letters in filled boxes, and those that make up flags: no normalisation form covers them."""
_VARIANTS: dict[int, str | int | None] = {
    **_BOXED, **str.maketrans("\u0131\u0623\u0625\u0622\u0671\u0649\u0629", "i\u0627\u0627\u0627\u0627\u064a\u0647"), _STOP_SIGN: " stop "
}  # fmt: skip
"""Dotless i; the forms of alif, ya and ta marbuta; the stop sign."""
_LOOKALIKES = str.maketrans(
    "\u0430\u0432\u0435\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0455\u0456\u0458"
    "\u03b1\u03b2\u03b5\u03b9\u03ba\u03bc\u03bd\u03bf\u03c1\u03c3\u03c4\u03c5\u03c7015",
    "abekmhopctyxsijabeikmnopstyxois",
)
"""Cyrillic and Greek letters, and digits, mapped to the Latin letters they look like."""
_SHORTEST = 3
"""Fewest letters of a word that is recognised by its looks."""
_BARE = str.maketrans({"đ": "d", "ł": "l", "ø": "o"})
_GAP = " . "
"""Put in place of harmless words: no pattern matches across it."""


class Wish(StrEnum):
    """What the sender of a reply wants."""

    STOP = "stop"
    """No more on this channel."""
    STOP_ALL = "stop_all"
    """No more on any channel."""
    START = "start"
    HELP = "help"
    COMPLAINT = "complaint"
    UNCLEAR = "unclear"
    """Perhaps a stop: contacts rest until a person has looked."""


CLEAR = frozenset({Wish.STOP, Wish.STOP_ALL, Wish.COMPLAINT})
"""Wishes that override all others."""


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one language, in the form that `plain` returns."""

    language: str
    spaced: bool
    """Whether words are written apart; in other scripts a phrase is looked for in the text without its spaces."""
    accents: bool
    """Whether accents are kept, because words without them are different words."""
    whole: Mapping[str, Wish]
    """Words that must be the whole message, apart from courtesies."""
    polite: tuple[str, ...]
    says: Mapping[Wish, re.Pattern[str]]
    """Patterns that may occur anywhere."""
    harmless: re.Pattern[str] | None
    """What looks like a wish and is not one."""
    doubt: re.Pattern[str] | None
    """What makes any other message unclear."""


def plain(said: str) -> str:
    """Return a text without case, width, punctuation and spelling variants: letters, marks and digits, one space between words."""
    folded = spelt(unicodedata.normalize("NFKC", said[:LONGEST])[:LONGEST].casefold())
    return " ".join("".join(map(_seen, folded)).split())


def spelt(written: str) -> str:
    """Return a text with one spelling for each character that can be written in several ways."""
    return unicodedata.normalize("NFKC", written).translate(_VARIANTS)


def bare(written: str) -> str:
    """Return a text without accents, as people type it where accents are hard to reach."""
    kept = "".join(char for char in unicodedata.normalize("NFD", written) if not "\u0300" <= char <= "\u036f")
    return unicodedata.normalize("NFC", kept).translate(_BARE)


def recognise(said: str, languages: Iterable[Words]) -> frozenset[Wish]:
    """Return what a message wishes for in any of these languages; nothing for an ordinary message."""
    text = _without_repeats(plain(said))
    joined = text.replace(" ", "")
    spelled = len(joined) > 2 and len(text) == 2 * len(joined) - 1
    forms = {
        (spaced, accents): form if accents else bare(form)
        for spaced, form in ((True, joined if spelled else text), (False, joined))
        for accents in (True, False)
    }
    known = tuple(languages)
    found = together(wish for words in known for wish in _in(forms[words.spaced, words.accents], words))
    return found or _lookalike(joined, known)


def _lookalike(joined: str, languages: Iterable[Words]) -> frozenset[Wish]:
    """Return the stop a message asks for in look-alike letters or with a zero or a space in the word; it never starts anything."""
    if len(joined) < _SHORTEST or joined.isdecimal():
        return frozenset()
    read = joined.translate(_LOOKALIKES)
    return frozenset(wish for words in languages if (wish := words.whole.get(read)) in {Wish.STOP, Wish.STOP_ALL})


def together(wishes: Iterable[Wish]) -> frozenset[Wish]:
    """Return what holds when one message is read in several ways: of a stop and a start, the stop."""
    found = frozenset(wishes)
    if found & CLEAR:
        return found - {Wish.UNCLEAR, Wish.START, Wish.HELP}
    return found - {Wish.START, Wish.HELP} if Wish.UNCLEAR in found else found


def _in(text: str, words: Words) -> set[Wish]:
    if (word := _whole(text, words)) is not None:
        return {words.whole[word]}
    rest = words.harmless.sub(_GAP, text) if words.harmless else text
    found = {wish for wish, pattern in words.says.items() if pattern.search(rest)}
    unclear = not found and words.doubt is not None and words.doubt.search(rest)
    return {Wish.UNCLEAR} if unclear else found


def _whole(text: str, words: Words) -> str | None:
    """Return the word that is the whole text apart from courtesies around it; the longest if several match."""
    space = " " if words.spaced else ""
    begins = _courtesy_ends(text, [word + space for word in words.polite])
    ends = {len(text) - end for end in _courtesy_ends(text[::-1], [(space + word)[::-1] for word in words.polite])}
    found = (word for begin in begins for word in words.whole if begin + len(word) in ends and text.startswith(word, begin))
    return max(found, key=len, default=None)


def _courtesy_ends(text: str, courtesies: Sequence[str]) -> list[int]:
    """Return the positions up to which a text is only courtesies, each once, so that many courtesies do not slow it down."""
    found, seen = [0], {0}
    for place in found:
        further = {place + len(word) for word in courtesies if text.startswith(word, place)} - seen
        found += further
        seen |= further
    return found


def _seen(char: str) -> str:
    kind = unicodedata.category(char)
    if char in _REMOVED or kind in {"Cf", "Me"}:
        return ""
    return char if kind[0] in "LMN" else " "


def _without_repeats(text: str) -> str:
    """Return a text that only repeats one word as that single word."""
    words = text.split()
    return words[0] if words and len(set(words)) == 1 else text
