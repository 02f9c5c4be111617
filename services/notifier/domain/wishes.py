"""What a reply wishes for, told by words that are data: pure, and the same under any punctuation, case, width and spacing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

LONGEST = 2000
"""Characters that are read; a text message has 1,600 at most, and what a mail quotes is no wish."""
_UNSEEN = frozenset("'\u2019\u2018\u02bc`\u00b4\u0307\u0640\u034f\u115f\u1160") | {
    chr(mark) for first, last in ((0x064B, 0x0652), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF)) for mark in range(first, last + 1)
}
"""Left out wherever it stands: apostrophes, the dot of a Turkish capital, Arabic points and stretching, how an emoji is drawn."""
_STOP_SIGN = 0x1F6D1
_BOXED = {begin + place: chr(ord("a") + place) for begin in (0x1F170, 0x1F1E6) for place in range(26)}
"""Letters in filled boxes, and those that flags are made of: no normal form has them."""
_SAME: dict[int, str | int | None] = {
    **_BOXED, **str.maketrans("\u0131\u0623\u0625\u0622\u0671\u0649\u0629", "i\u0627\u0627\u0627\u0627\u064a\u0647"), _STOP_SIGN: " stop "
}  # fmt: skip
"""Dotless i; the forms of alif, ya and ta marbuta; the sign that says the word."""
_LOOKS = str.maketrans(
    "\u0430\u0432\u0435\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0455\u0456\u0458"
    "\u03b1\u03b2\u03b5\u03b9\u03ba\u03bc\u03bd\u03bf\u03c1\u03c3\u03c4\u03c5\u03c7015",
    "abekmhopctyxsijabeikmnopstyxois",
)
"""Letters of Cyrillic and Greek, and digits, by the Latin letters that they look like."""
_SHORTEST = 3
"""Letters that a word has at least which is heard by its looks."""
_BARE = str.maketrans({"đ": "d", "ł": "l", "ø": "o"})
_GAP = " . "
"""Stands where words were that say nothing: no pattern reaches over it."""


class Wish(StrEnum):
    """What somebody wants who replies."""

    STOP = "stop"
    """No more on this channel."""
    STOP_ALL = "stop_all"
    """No more on any."""
    START = "start"
    HELP = "help"
    COMPLAINT = "complaint"
    UNCLEAR = "unclear"
    """Perhaps an end of it: contacts rest until a person has looked."""


CLEAR = frozenset({Wish.STOP, Wish.STOP_ALL, Wish.COMPLAINT})
"""Wishes beside which no other is heard."""


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one language, in the form that `plain` gives."""

    language: str
    spaced: bool
    """Whether words are written apart; in other scripts a phrase is found inside a text without its spaces."""
    accents: bool
    """Whether its words are kept with their accents, since without them they are others."""
    whole: Mapping[str, Wish]
    """What must be all of a message, but for courtesies."""
    polite: tuple[str, ...]
    says: Mapping[Wish, re.Pattern[str]]
    """What may stand anywhere."""
    harmless: re.Pattern[str] | None
    """What looks like a wish and is none."""
    doubt: re.Pattern[str] | None
    """What makes any other message unclear."""


def plain(said: str) -> str:
    """Return a text without case, width, punctuation and spelling variants: letters, marks and digits, one space between words."""
    folded = spelt(unicodedata.normalize("NFKC", said[:LONGEST])[:LONGEST].casefold())
    return " ".join("".join(map(_seen, folded)).split())


def spelt(written: str) -> str:
    """Return a text with each of the signs that are written in several ways in one of them."""
    return unicodedata.normalize("NFKC", written).translate(_SAME)


def bare(written: str) -> str:
    """Return a text without accents, as it is typed where they are far to reach."""
    kept = "".join(char for char in unicodedata.normalize("NFD", written) if not "\u0300" <= char <= "\u036f")
    return unicodedata.normalize("NFC", kept).translate(_BARE)


def recognise(said: str, languages: Iterable[Words]) -> frozenset[Wish]:
    """Return what a message wishes for in any of these languages; nothing for an ordinary one."""
    text = _once(plain(said))
    joined = text.replace(" ", "")
    spelled = len(joined) > 2 and len(text) == 2 * len(joined) - 1
    forms = {
        (spaced, accents): form if accents else bare(form)
        for spaced, form in ((True, joined if spelled else text), (False, joined))
        for accents in (True, False)
    }
    known = tuple(languages)
    found = together(wish for words in known for wish in _in(forms[words.spaced, words.accents], words))
    return found or _by_its_looks(joined, known)


def _by_its_looks(joined: str, languages: Iterable[Words]) -> frozenset[Wish]:
    """Return the end that a message asks for in letters of another script, with a zero or a space in the word; it begins nothing."""
    if len(joined) < _SHORTEST or joined.isdecimal():
        return frozenset()
    read = joined.translate(_LOOKS)
    return frozenset(wish for words in languages if (wish := words.whole.get(read)) in {Wish.STOP, Wish.STOP_ALL})


def together(wishes: Iterable[Wish]) -> frozenset[Wish]:
    """Return what holds of several readings of one message: of an end of it and a beginning, the end."""
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
    """Return the word that is all of a text but for the courtesies around it, the longest of several."""
    space = " " if words.spaced else ""
    begins = _passed(text, [word + space for word in words.polite])
    ends = {len(text) - end for end in _passed(text[::-1], [(space + word)[::-1] for word in words.polite])}
    found = (word for begin in begins for word in words.whole if begin + len(word) in ends and text.startswith(word, begin))
    return max(found, key=len, default=None)


def _passed(text: str, courtesies: Sequence[str]) -> list[int]:
    """Return the places up to which a text is nothing but courtesies, each once: who writes many of them is read as fast."""
    found, seen = [0], {0}
    for place in found:
        further = {place + len(word) for word in courtesies if text.startswith(word, place)} - seen
        found += further
        seen |= further
    return found


def _seen(char: str) -> str:
    kind = unicodedata.category(char)
    if char in _UNSEEN or kind in {"Cf", "Me"}:
        return ""
    return char if kind[0] in "LMN" else " "


def _once(text: str) -> str:
    """Return a text that says one word again and again as that word."""
    words = text.split()
    return words[0] if words and len(set(words)) == 1 else text
