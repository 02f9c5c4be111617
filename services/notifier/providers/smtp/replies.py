"""SMTP replies: reading them line by line, and what a refusal means."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from services.notifier.domain.results import Accepted, Refused, Result, Unknown
from services.notifier.providers.aws import UNVERIFIED
from services.notifier.providers.codes import Codes

CODES = Codes.load("smtp")
MOST_LINES = 100
MOST_REF = 128
CLOSING = 421
_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_STATUS = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?=\s|$)")
_QUEUED = re.compile(r"(?:queued as|id=|queue id:?|\bid)\s*<?([A-Za-z0-9._:-]{5,})", re.IGNORECASE)
_WAIT = re.compile(r"\b(\d{1,5})\s*(s|sec|secs|seconds?|m|min|mins|minutes?)\b", re.IGNORECASE)


class UnreadableError(Exception):
    """This is not an SMTP reply."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete reply; the lines of its text are joined by spaces."""

    code: int
    text: str

    @property
    def taken(self) -> bool:
        """Return whether the command was carried out."""
        return 200 <= self.code < 300

    @property
    def status(self) -> str | None:
        """Return the enhanced status, if it is of the same class as the code."""
        found = _STATUS.match(self.text)
        return found[0] if found and found[1] == str(self.code)[0] else None

    @property
    def said(self) -> str:
        """Return code and enhanced status, or for a code without one, what its text is known to mean."""
        unverified = "not verified" if UNVERIFIED in self.text.lower() else None
        return " ".join(filter(None, (str(self.code), self.status or unverified)))


async def read(reader: asyncio.StreamReader) -> Reply:
    """Return the next complete reply; a truncated one raises."""
    lines: list[str] = []
    while True:
        line = await reader.readuntil(b"\n")
        found = _LINE.fullmatch(line.rstrip(b"\r\n"))
        if found is None or len(lines) == MOST_LINES:
            raise UnreadableError
        lines.append((found[3] or b"").decode("utf-8", "replace"))
        if found[2] != b"-":
            return Reply(int(found[1]), " ".join(lines))


def refusal(stage: str, reply: Reply) -> Refused:
    """Return what the refusal of a command means: by code and status, by the command, by its class."""
    meant = CODES.result(reply.code, *_candidates(stage, reply), retry_after=_retry_after(reply))
    if isinstance(meant, Unknown):  # a reply to a command that hands nothing over leaves nothing unknown
        return Refused(reply.said, "provider", permanent=False)
    return replace(meant, code=reply.said)


def outcome(reply: Reply) -> Result:
    """Return what the reply to a whole message means; neither yes nor no is unknown."""
    if reply.taken:
        return Accepted(_reference(reply))
    return refusal("end", reply) if reply.code >= 400 else Unknown("answer_unreadable")


def _candidates(stage: str, reply: Reply) -> Iterator[str]:
    """Yield the keys under which a reply may be listed, most specific first."""
    status = reply.status
    if status is not None:
        subject = f"{status.rpartition('.')[0]}.x"
        yield from (f"{reply.code} {status}", status, f"{stage} {subject}", subject)
    elif reply.said != str(reply.code):
        yield reply.said
    kind = f"{reply.code // 100}xx"
    yield from (f"{stage} {reply.code}", f"{stage} {kind}", str(reply.code), kind)


def _reference(reply: Reply) -> str:
    """Return the server's name for an accepted message, as found in its log; failing that, the text of the reply."""
    found = _QUEUED.search(reply.text)
    return (found[1] if found else _STATUS.sub("", reply.text).strip())[:MOST_REF]


def _retry_after(reply: Reply) -> str | None:
    """Return after how many seconds a server asks for a retry."""
    found = _WAIT.search(reply.text) if reply.code < 500 else None
    return str(int(found[1]) * (60 if found[2].lower().startswith("m") else 1)) if found else None
