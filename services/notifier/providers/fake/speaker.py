"""What a fake of one kind of provider is, and the addresses that ask for an answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from services.notifier.domain.receipts import Standing
from services.notifier.providers.codes import Codes, Meaning
from services.notifier.providers.wire import Account, Answer, HttpCall

MAGIC = "+1500555{:04}"
"""Phone numbers that ask for an answer: the last four digits are the place of the meaning, from 1."""
FAILS, SAYS_NOTHING = "+15005559001", "+15005559002"
"""Phone numbers to which a message is taken and then fails, and is taken and never spoken of again; of anything else `fails`, `silent`."""
_NUMBER = re.compile(r"\+?1500555(0\d{3})")
_WORD = re.compile(r"[a-z_]+")


@dataclass(frozen=True, slots=True)
class Taken:
    """A message as the provider took it from the wire."""

    ref: str
    to: str
    body: str
    subject: str | None = None
    reference: str | None = None
    """Ours, where the provider knows one."""
    callback: str | None = None
    at: datetime | None = None
    standing: Standing = Standing.ACCEPTED
    """How far it has come by now."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """One kind: reads a request, answers one that it took or refuses, and says later what became of it."""

    take: Callable[[HttpCall, Account, str], Taken | Answer]
    """Returns the message under the id that is given, or the answer to a request that a provider would not take."""
    accept: Callable[[Taken], Answer]
    refuse: Callable[[Taken, str], Answer]
    """By a code of the kind's table."""
    codes: Codes
    report: Callable[[Taken, Standing, Account, datetime], HttpCall] | None = None
    parts: Callable[[Taken], Sequence[Taken]] | None = None
    """Returns what is reported on for itself, where that is each part of a message."""
    search: Callable[[HttpCall, Account, Sequence[Taken]], Answer | None] | None = None
    """Answers a question about what was taken; None where the call is none."""


def magic(meaning: Meaning) -> str:
    """Return the phone number that asks for an answer of this meaning."""
    return MAGIC.format(list(Meaning).index(meaning) + 1)


def wish(to: str) -> Meaning | None:
    """Return the answer that an address asks for: a magic number, or a meaning as the first word of anything else."""
    number = _NUMBER.fullmatch(to)
    meanings = list(Meaning)
    if number:
        place = int(number[1]) - 1
        return meanings[place] if place in range(len(meanings)) else None
    word = _WORD.match(to)
    return Meaning(word[0]) if word and word[0] in meanings else None


def fate(to: str) -> Standing | None:
    """Return what a receipt will say of a message to this address; None where there will be none."""
    word = _WORD.match(to)
    if to.lstrip("+") == FAILS[1:] or (word and word[0] == "fails"):
        return Standing.FAILED
    return None if to.lstrip("+") == SAYS_NOTHING[1:] or (word and word[0] == "silent") else Standing.DELIVERED


def code_for(speaker: Speaker, meaning: Meaning) -> str | None:
    """Return the first code of the table that means this; of two that do, one that is more than a status. None: it has no word for that."""
    listed: Sequence[str] = [code for code, means in speaker.codes.api.items() if means is meaning]
    return min(listed, key=lambda code: code.startswith("http "), default=None)


def as_json(status: int, value: object, **headers: str) -> Answer:
    """Return an answer in JSON."""
    return Answer(status, {"content-type": "application/json", **headers}, msgspec.json.encode(value))
