"""What the rules ask of a text: judged on the text as its reader will see it."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import assert_never

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
"""What holds whatever the jurisdiction."""
PREVIEWS: Mapping[str, frozenset[str]] = MappingProxyType(
    {Channel.EMAIL.value: frozenset({"subject"}), Channel.PUSH.value: frozenset({"subject", "body"})}
)
"""The parts of a message that a stranger may see on a screen, by channel."""
EVERYWHERE = "en"
"""A language whose words are looked for in texts of any other too."""
_SIGNS = "$€£¥₹₩₽₫฿₱₦"
_AMOUNT = re.compile(
    rf"[{_SIGNS}]\s?\d|(?<![A-Za-z])[A-Z]{{3}}\s?\d|\d\s?(?:[{_SIGNS}元]|[A-Z]{{3}}(?![A-Za-z]))|\d[.,]\d{{2}}(?!\d)|\d{{3,}}"
)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a message; a preview is what a stranger may see: the subject of a mail, the banner of a push."""

    name: str
    text: str
    preview: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """A text as it will be read, and what it must agree with. A lender of None is not judged, amounts of None are unknown."""

    parts: tuple[Part, ...]
    language: str | None = None
    lender: str | None = None
    amounts: tuple[str, ...] | None = None
    """The components of the sum that are not zero, as they are written in this text."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What a text does not do that it must, or does that it must not: where, and why."""

    kind: ContentKind
    reason: str
    part: str | None = None
    at: int | None = None
    excerpt: str | None = None


def languages() -> frozenset[str]:
    """Return the languages there are lists of words for."""
    return frozenset(wordings())


def faults(text: Text, asks: frozenset[ContentKind]) -> tuple[Fault, ...]:
    """Return what is wrong with a text by what is asked of it, in the order of the closed list."""
    return tuple(fault for kind in ContentKind if kind in asks for fault in _faults(text, kind))


def _faults(text: Text, kind: ContentKind) -> Iterator[Fault]:
    match kind:
        case ContentKind.IDENTITY:
            yield from _identity(text)
        case ContentKind.AMOUNT_SPLIT:
            yield from _split(text)
        case ContentKind.OPT_OUT:
            yield from _opt_out(text)
        case ContentKind.FORBIDDEN_WORDING:
            yield from _forbidden(text)
        case ContentKind.NEUTRAL_PREVIEW:
            yield from _previews(text)
        case _:
            assert_never(kind)


def _identity(text: Text) -> Iterator[Fault]:
    if text.lender is not None and not any(_names(part.text, text.lender) for part in text.parts):
        yield Fault(ContentKind.IDENTITY, "the lender is not named")


def _names(text: str, lender: str) -> bool:
    return bool(lender.strip()) and plain(lender).casefold() in plain(text).casefold()


def _split(text: Text) -> Iterator[Fault]:
    if text.amounts is None:
        yield Fault(ContentKind.AMOUNT_SPLIT, "the parts of the sum are not known")
        return
    said = "\n".join(plain(part.text) for part in text.parts if not part.preview)
    for amount in dict.fromkeys(text.amounts):
        if plain(amount) not in said:
            yield Fault(ContentKind.AMOUNT_SPLIT, f"a part of the sum is not named: {amount}")


def _opt_out(text: Text) -> Iterator[Fault]:
    own = [words for words in _lists(text) if text.language in {None, words.language}]
    if not any(words.opt_out.search(plain(part.text)) for words in own for part in text.parts):
        yield Fault(ContentKind.OPT_OUT, "the reader is not told, in the language of the text, how to opt out")


def _forbidden(text: Text) -> Iterator[Fault]:
    if text.language is not None and text.language not in wordings():
        yield Fault(ContentKind.FORBIDDEN_WORDING, f"there is no list of forbidden wording for {text.language!r}")
    for part in text.parts:
        read = plain(part.text)
        for words in _lists(text):
            for family in words.forbidden:
                if found := family.pattern.search(read):
                    yield _at(ContentKind.FORBIDDEN_WORDING, f"{family.family}: {family.reason}", part.name, found)


def _previews(text: Text) -> Iterator[Fault]:
    for part in text.parts:
        if not part.preview:
            continue
        read = plain(part.text)
        if text.lender:
            read = re.sub(re.escape(plain(text.lender)), lambda found: "·" * len(found[0]), read, flags=re.IGNORECASE)
        if found := _AMOUNT.search(read):
            yield _at(ContentKind.NEUTRAL_PREVIEW, "a stranger may read an amount", part.name, found)
        for words in _lists(text):
            if found := words.debt.search(read):
                yield _at(ContentKind.NEUTRAL_PREVIEW, "a stranger may read that something is owed", part.name, found)


def _lists(text: Text) -> list[Wordings]:
    """Return the lists to look in: of the text's language and of English, all of them where the language is not known."""
    known = wordings()
    if text.language is None:
        return list(known.values())
    return [known[name] for name in dict.fromkeys((text.language, EVERYWHERE)) if name in known]


def _at(kind: ContentKind, reason: str, part: str, found: re.Match[str]) -> Fault:
    return Fault(kind, reason, part, found.start(), found[0][:80])


def plain(text: str) -> str:
    """Return a text as it is read: compatible forms made one, invisible characters gone, white space single."""
    folded = unicodedata.normalize("NFKC", text)
    visible = "".join(c for c in folded if unicodedata.category(c) != "Cf")
    return re.sub(r"\s+", " ", visible).strip()
