"""Texts that a provider has approved, for those that send no others: which of them stands for one of ours, and what fills it in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from libs.compliance import ContentKind
from services.notifier.domain.message import VARIABLE, WORDS, Making, OutgoingMessage
from services.notifier.providers.wire import Account, UnfitError

SETTING = "templates"
SAID = frozenset({ContentKind.AMOUNT_SPLIT, ContentKind.OPT_OUT})
"""What rules may ask a text to say. Who speaks stands in the signature, which the provider puts before it."""


class Approved(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A text under the provider's name for it."""

    code: str
    says: frozenset[ContentKind] = frozenset()
    """Which of the things that rules may ask for stand in it."""


class Named(Approved, frozen=True):
    """One whose places have names; each is filled with a word of ours, or with what stands behind `|` where there is none."""

    params: dict[str, str] = {}


class Placed(Approved, frozen=True):
    """One whose places are numbered."""

    params: tuple[str, ...] = ()


_Kind = TypeVar("_Kind", Named, Placed)


@lru_cache(maxsize=1000)
def _decoded(said: str, kind: type[Approved]) -> dict[str, dict[str, Any]]:
    """Return the texts of an account by our name for each and its locale."""
    try:
        return msgspec.convert(msgspec.json.decode(said), dict[str, dict[str, kind]])  # type: ignore[valid-type]  # made of a class
    except msgspec.DecodeError:
        raise UnfitError("templates_unreadable", "config") from None


def fitting(message: OutgoingMessage, account: Account, kind: type[_Kind]) -> _Kind:
    """Return the approved text that stands for a message's own and says all that the rules ask of it; UnfitError where none does."""
    making = message.making
    texts = _decoded(account.settings[SETTING], kind)
    found: _Kind | None = texts.get(making.ref.name, {}).get(making.ref.locale) if making else None
    if making is None or found is None or not (making.draft.asks & SAID) <= found.says:
        raise UnfitError("no_approved_text", "config")
    return found


def filled(making: Making | None, wanted: str) -> str:
    """Return what fills a place; UnfitError where this message has no such word and nothing stands in for it."""
    word, _, otherwise = wanted.partition("|")
    found = (making.value(word) if making else None) or otherwise
    if not found:
        raise UnfitError("no_such_value", "config")
    return found


def checked(account: Account, kind: type[_Kind], words: Callable[[_Kind], Iterable[str]]) -> None:
    """Refuse an account whose texts cannot be read, or want words that no message has."""
    texts = [one for by_locale in _decoded(account.settings[SETTING], kind).values() for one in by_locale.values()]
    if not texts or not all(one.code for one in texts):
        raise UnfitError("no_approved_text", "config")
    wanted = [word.partition("|")[0] for one in texts for word in words(one)]
    if unknown := [word for word in wanted if word not in WORDS and not word.startswith(VARIABLE)]:
        raise UnfitError(f"no_such_value {unknown[0][:64]}", "config")
