"""What a fake of one kind of provider consists of, and the addresses that ask for an answer."""

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
"""Phone numbers that ask for an answer: the last digits are the position of the meaning, counted from 1."""
FAILS, SAYS_NOTHING = "+15005559001", "+15005559002"
"""Phone numbers whose message is accepted and then fails, or is accepted without any receipt; other addresses use `fails`, `silent`."""
_NUMBER = re.compile(r"\+?1500555(0\d{3})")
_WORD = re.compile(r"[a-z_]+")


@dataclass(frozen=True, slots=True)
class Taken:
    """A message as the provider read it from the wire."""

    ref: str
    to: str
    body: str
    subject: str | None = None
    reference: str | None = None
    """Our id, if the provider has a field for it."""
    callback: str | None = None
    at: datetime | None = None
    standing: Standing = Standing.ACCEPTED
    """How far it has come so far."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """One kind: reads a request, accepts or refuses it, and later reports what became of it."""

    take: Callable[[HttpCall, Account, str], Taken | Answer]
    """Returns the message under the given id, or the answer to a request that the provider would reject."""
    accept: Callable[[Taken], Answer]
    refuse: Callable[[Taken, str], Answer]
    """Takes a code from the kind's table."""
    codes: Codes
    report: Callable[[Taken, Standing, Account, datetime], HttpCall] | None = None
    parts: Callable[[Taken], Sequence[Taken]] | None = None
    """Returns what gets a report of its own, if that is each part of a message."""
    search: Callable[[HttpCall, Account, Sequence[Taken]], Answer | None] | None = None
    """Answers a question about accepted messages; None if the call is not one."""


def magic(meaning: Meaning) -> str:
    """Return the phone number that asks for this answer."""
    return MAGIC.format(list(Meaning).index(meaning) + 1)


def wish(to: str) -> Meaning | None:
    """Return the answer an address asks for: by a magic number, or by a meaning as the first word of any other address."""
    number = _NUMBER.fullmatch(to)
    meanings = list(Meaning)
    if number:
        place = int(number[1]) - 1
        return meanings[place] if place in range(len(meanings)) else None
    word = _WORD.match(to)
    return Meaning(word[0]) if word and word[0] in meanings else None


def fate(to: str) -> Standing | None:
    """Return what the receipt of a message to this address will say; None if there will be none."""
    word = _WORD.match(to)
    if to.lstrip("+") == FAILS[1:] or (word and word[0] == "fails"):
        return Standing.FAILED
    return None if to.lstrip("+") == SAYS_NOTHING[1:] or (word and word[0] == "silent") else Standing.DELIVERED


def code_for(speaker: Speaker, meaning: Meaning) -> str | None:
    """Return the first code with this meaning, preferably not a bare status; None if the table has none."""
    listed: Sequence[str] = [code for code, means in speaker.codes.api.items() if means is meaning]
    return min(listed, key=lambda code: code.startswith("http "), default=None)


def as_json(status: int, value: object, **headers: str) -> Answer:
    """Return an answer in JSON."""
    return Answer(status, {"content-type": "application/json", **headers}, msgspec.json.encode(value))
