"""Approved texts, for providers that send no others: which one stands for a text of ours, and how it is filled in."""

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
"""What rules may require a text to say. Who is speaking is in the signature that the provider puts before it."""


class Approved(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A text under the provider's name for it."""

    code: str
    says: frozenset[ContentKind] = frozenset()
    """Which of the things that rules may require are in it."""


class Named(Approved, frozen=True):
    """A text with named placeholders; each is filled with one of our values, or with what follows `|` if there is none."""

    params: dict[str, str] = {}


class Placed(Approved, frozen=True):
    """A text with numbered placeholders."""

    params: tuple[str, ...] = ()


_Kind = TypeVar("_Kind", Named, Placed)


@lru_cache(maxsize=1000)
def _decoded(said: str, kind: type[Approved]) -> dict[str, dict[str, Any]]:
    """Return the texts of an account by our name and locale for each."""
    try:
        return msgspec.convert(msgspec.json.decode(said), dict[str, dict[str, kind]])  # type: ignore[valid-type]  # made of a class
    except msgspec.DecodeError:
        raise UnfitError("templates_unreadable", "config") from None


def fitting(message: OutgoingMessage, account: Account, kind: type[_Kind]) -> _Kind:
    """Return the approved text that stands for a message's own and says everything the rules require; UnfitError if there is none."""
    making = message.making
    texts = _decoded(account.settings[SETTING], kind)
    found: _Kind | None = texts.get(making.ref.name, {}).get(making.ref.locale) if making else None
    if making is None or found is None or not (making.draft.asks & SAID) <= found.says:
        raise UnfitError("no_approved_text", "config")
    return found


def filled(making: Making | None, wanted: str) -> str:
    """Return the value for a placeholder; UnfitError if this message has no such value and there is no default."""
    word, _, otherwise = wanted.partition("|")
    found = (making.value(word) if making else None) or otherwise
    if not found:
        raise UnfitError("no_such_value", "config")
    return found


def checked(account: Account, kind: type[_Kind], words: Callable[[_Kind], Iterable[str]]) -> None:
    """Refuse an account whose texts cannot be read, or need values that no message has."""
    texts = [one for by_locale in _decoded(account.settings[SETTING], kind).values() for one in by_locale.values()]
    if not texts or not all(one.code for one in texts):
        raise UnfitError("no_approved_text", "config")
    wanted = [word.partition("|")[0] for one in texts for word in words(one)]
    if unknown := [word for word in wanted if word not in WORDS and not word.startswith(VARIABLE)]:
        raise UnfitError(f"no_such_value {unknown[0][:64]}", "config")
