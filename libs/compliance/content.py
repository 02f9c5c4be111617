"""What the rules require of a text, judged as its reader will see it."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import product
from types import MappingProxyType
from typing import assert_never

from libs.common.value import Value, replace
from libs.compliance.rules import Content, Terms
from libs.compliance.vocabulary import Channel, ContentKind, Evidence, Nature
from libs.compliance.wordings import Wordings, wordings

BASE = Content(
    Terms(
        id="content-base",
        nature=Nature.PRODUCT_DEFAULT,
        cite="product default: every message names the lender, and none threatens, insults, bluffs or shames",
        evidence=Evidence.PRODUCT_DEFAULT,
        channels=frozenset(Channel),
    ),
    frozenset({ContentKind.IDENTITY, ContentKind.FORBIDDEN_WORDING}),
)
"""Applies in every jurisdiction."""
PREVIEWS: Mapping[str, frozenset[str]] = MappingProxyType(
    {Channel.EMAIL.value: frozenset({"subject"}), Channel.PUSH.value: frozenset({"subject", "body"})}
)
"""The parts of a message that a stranger may see on a screen, by channel."""
EVERYWHERE = "en"
"""The language whose words are also looked for in texts of every other language."""
LONGEST_EXCERPT = 80
_DIGITS = str.maketrans("123456789", "000000000")
_INVISIBLE = re.compile(
    "[\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]"
)
"""The characters of Unicode's category Cf."""
_SIGNS = "$€£¥₹₩₽₫฿₱₦"
_AMOUNT = re.compile(
    rf"[{_SIGNS}]\s?\d|(?<![A-Za-z])[A-Z]{{3}}\s?\d|\d\s?(?:[{_SIGNS}元]|[A-Z]{{3}}(?![A-Za-z]))|\d[.,]\d{{2}}(?!\d)|\d{{3,}}"
)


class Part(Value, frozen=True):
    """One part of a message; a preview is what a stranger may see: the subject of a mail, the banner of a push."""

    name: str
    text: str
    preview: bool = False


class Text(Value, frozen=True):
    """A text as it will be read, and what it must agree with; a lender of None is not checked, amounts of None are unknown."""

    parts: tuple[Part, ...]
    language: str | None = None
    lender: str | None = None
    amounts: tuple[str, ...] | None = None
    """The non-zero components of the sum, as written in this text."""


class Fault(Value, frozen=True):
    """Something a text must do and does not, or must not do and does: where, and why."""

    kind: ContentKind
    reason: str
    part: str | None = None
    at: int | None = None
    excerpt: str | None = None


def languages() -> frozenset[str]:
    """Return the languages that have word lists."""
    return frozenset(wordings())


def faults(text: Text, asks: frozenset[ContentKind]) -> tuple[Fault, ...]:
    """Return the faults of a text against what is asked of it, in the order of the closed list."""
    read = replace(text, parts=tuple(Part(part.name, plain(part.text), part.preview) for part in text.parts))
    return tuple(fault for kind in ContentKind if kind in asks for fault in _faults(read, kind))


def plain(text: str) -> str:
    """Return a text as it is read: compatibility forms normalised, invisible characters removed, white space collapsed."""
    if not text.isascii():
        text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    return " ".join(text.split())


def _faults(read: Text, kind: ContentKind) -> Iterator[Fault]:
    match kind:
        case ContentKind.IDENTITY:
            yield from _identity(read)
        case ContentKind.AMOUNT_SPLIT:
            yield from _split(read)
        case ContentKind.OPT_OUT | ContentKind.FORBIDDEN_WORDING | ContentKind.NEUTRAL_PREVIEW:
            yield from _in_words(read, kind)
        case _:
            assert_never(kind)


def _identity(read: Text) -> Iterator[Fault]:
    if read.lender is None:
        return
    lender = plain(read.lender).casefold()
    if not lender or not any(lender in part.text.casefold() for part in read.parts):
        yield Fault(ContentKind.IDENTITY, "the lender is not named")


def _split(read: Text) -> Iterator[Fault]:
    if read.amounts is None:
        yield Fault(ContentKind.AMOUNT_SPLIT, "the parts of the sum are not known")
        return
    said = "\n".join(part.text for part in read.parts if not part.preview)
    for amount in dict.fromkeys(read.amounts):
        if plain(amount) not in said:
            yield Fault(ContentKind.AMOUNT_SPLIT, f"a part of the sum is not named: {amount}")


def _in_words(read: Text, kind: ContentKind) -> Iterator[Fault]:
    """Yield faults that depend on words, not numbers: texts that differ only in their digits are searched once."""
    numberless = tuple(Part(part.name, part.text.translate(_DIGITS), part.preview) for part in read.parts)
    said = {part.name: part.text for part in read.parts}
    for fault, length in _by_words(Text(numberless, read.language, read.lender), kind):
        at = fault.at
        yield fault if at is None or fault.part is None else replace(fault, excerpt=said[fault.part][at : at + length])


@lru_cache(maxsize=1024)
def _by_words(read: Text, kind: ContentKind) -> tuple[tuple[Fault, int], ...]:
    """Return faults, each with the length of its excerpt."""
    match kind:
        case ContentKind.OPT_OUT:
            return tuple(_opt_out(read))
        case ContentKind.FORBIDDEN_WORDING:
            return tuple(_forbidden(read))
        case _:
            return tuple(_previews(read))


def _opt_out(read: Text) -> Iterator[tuple[Fault, int]]:
    own = [words for words in _lists(read) if read.language in {None, words.language}]
    if not any(words.opt_out.search(part.text) for words in own for part in read.parts):
        yield Fault(ContentKind.OPT_OUT, "the reader is not told, in the language of the text, how to opt out"), 0


def _forbidden(read: Text) -> Iterator[tuple[Fault, int]]:
    if read.language is not None and read.language not in wordings():
        yield Fault(ContentKind.FORBIDDEN_WORDING, f"there is no list of forbidden wording for {read.language!r}"), 0
    for part, words in product(read.parts, _lists(read)):
        for family in words.forbidden:
            if found := family.pattern.search(part.text):
                yield _at(ContentKind.FORBIDDEN_WORDING, f"{family.family}: {family.reason}", part.name, found)


def _previews(read: Text) -> Iterator[tuple[Fault, int]]:
    """Check what a stranger may see, except the lender's own name, which may well say what it does."""
    own = re.compile(re.escape(plain(read.lender).translate(_DIGITS)), re.IGNORECASE) if read.lender else None
    for part in read.parts:
        if not part.preview:
            continue
        seen = own.sub(lambda found: "\u00b7" * len(found[0]), part.text) if own else part.text
        if found := _AMOUNT.search(seen):
            yield _at(ContentKind.NEUTRAL_PREVIEW, "a stranger may read an amount", part.name, found)
        for words in _lists(read):
            if found := words.debt.search(seen):
                yield _at(ContentKind.NEUTRAL_PREVIEW, "a stranger may read that something is owed", part.name, found)


def _lists(read: Text) -> list[Wordings]:
    """Return the word lists to search: those of the text's language and of English, or all of them where the language is unknown."""
    known = wordings()
    if read.language is None:
        return list(known.values())
    return [known[name] for name in dict.fromkeys((read.language, EVERYWHERE)) if name in known]


def _at(kind: ContentKind, reason: str, part: str, found: re.Match[str]) -> tuple[Fault, int]:
    return Fault(kind, reason, part, found.start(), ""), min(found.end() - found.start(), LONGEST_EXCERPT)
