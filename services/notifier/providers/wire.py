"""What an adapter is: pure functions between our messages and the bytes that one kind of provider speaks."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from libs.common.calling import BODY_LIMIT as BODY_LIMIT  # noqa: PLC0414  # re-exported for adapters
from libs.common.calling import Answer as Answer  # noqa: PLC0414  # re-exported for adapters
from libs.common.calling import HttpCall as HttpCall  # noqa: PLC0414  # re-exported for adapters
from services.notifier.domain.asking import Question, Search
from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.receipts import Receipt
from services.notifier.domain.replies import Inbound
from services.notifier.domain.results import Fault, Result

_MAILBOX = re.compile(r"[^\s@<>(),;:\\\"\[\]]{1,64}@[^\s@<>(),;:\\\"\[\]]{1,255}")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")


@dataclass(frozen=True, slots=True)
class Account:
    """A provider as a tenant uses it."""

    name: str
    kind: str
    credentials: Mapping[str, str] = field(repr=False)
    settings: Mapping[str, str] = field(default_factory=dict)
    base_url: str | None = None
    """Used instead of the provider's own: another region, or a fake."""
    callback: str | None = None
    """The public URL of our receipts endpoint for this account, including its secret part."""
    key: bytes = field(default=b"", repr=False)
    """This account's own key, for marks by which we recognise what it sent."""


@dataclass(frozen=True, slots=True)
class Callback:
    """A request claiming to come from a provider. `url` is the public one, as its sender called it; header names are lower case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    fetched: Mapping[str, bytes] = field(default_factory=dict)
    """What was fetched to verify it, by URL."""

    @property
    def query(self) -> dict[str, str]:
        """Return the parameters of the URL."""
        return dict(parse_qsl(self.url.partition("?")[2], keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Denied:
    """A callback that is not believed, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Fetch:
    """What must be fetched before a callback can be read: the key it is signed with, or the confirmation of a subscription."""

    url: str


class UnfitError(Exception):
    """This message cannot be sent through this provider; no call is made."""

    def __init__(self, code: str, fault: Fault) -> None:
        super().__init__(code)
        self.code = code
        self.fault: Fault = fault


@dataclass(frozen=True, slots=True)
class Token:
    """What an account presents instead of its credentials, until it expires."""

    value: str
    expires_in: timedelta


@dataclass(frozen=True, slots=True)
class TokenExchange:
    """How an account gets its token: the call, and the meaning of the answer (None: refused)."""

    request: Callable[[Account, datetime], HttpCall]
    read: Callable[[Answer], Token | None]


@dataclass(frozen=True, slots=True)
class Minted:
    """How an account makes its own tokens, without asking anybody."""

    request: Callable[[Account, datetime], Token]


@dataclass(frozen=True, slots=True)
class LookUp:
    """How a kind is asked what became of a message whose answer was lost."""

    request: Callable[[Question, Account, datetime], HttpCall]
    read: Callable[[Answer, Question, Account], Search | None]
    """Returns None if the answer says nothing."""
    absent_after: timedelta | None = None
    """How long after an attempt absence proves that it was never accepted; None if absence proves nothing."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """One kind of provider."""

    kind: str
    channels: tuple[str, ...]
    request: Callable[[OutgoingMessage, Account, datetime], HttpCall]
    read: Callable[[Answer], Result]
    receipts: Callable[[Callback, Account, datetime], Sequence[Receipt] | Denied | Fetch] | None = None
    inbound: Callable[[Callback, Account, datetime], Sequence[Inbound] | Denied | Fetch] | None = None
    """Reads what somebody sends to a number or an address of the account."""
    look_up: LookUp | None = None
    check: Callable[[Account], object] | None = None
    """Fails for an account that could not send anything; without it, building a request is the check."""
    heard: Mapping[str, object] = field(default_factory=dict)
    """What this provider expects in the answer to its receipts; otherwise it posts them again."""
    taken: tuple[bytes, str] = (b"", "text/plain")
    """The answer, with its media type, that this provider expects to an inbound message; nothing that it would send on."""
    credentials: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    """Settings that an account must have."""
    optional: tuple[str, ...] = ()
    """Optional credentials and settings."""
    secrets: tuple[str, ...] = ()
    """Which of these must be credentials: settings are shown."""
    signing: tuple[str, ...] = ()
    """The credentials that its receipts are signed with; receipts of an account without them may suppress but never permit."""
    token: TokenExchange | Minted | None = None
    http2: bool = False
    """Whether it is called over HTTP/2, which works only at its own address."""
    public_only: bool = False
    """Whether the URL is a customer's: then it must be https and lead to public addresses."""

    def signs(self, account: Account) -> bool:
        """Return whether the receipts of an account are signed."""
        return bool(self.signing) and all(account.credentials.get(name) for name in self.signing)


def one_click(message: OutgoingMessage) -> dict[str, str]:
    """Return the headers with which mail programs offer one-click unsubscribing (RFC 8058); none if there is no link."""
    if message.unsubscribe is None:
        return {}
    return {"List-Unsubscribe": f"<{message.unsubscribe}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}


def e164(to: str) -> str:
    """Return a phone number as `+` and digits."""
    number = re.sub(r"[\s().-]", "", to)
    if not _E164.fullmatch(number):
        raise UnfitError("invalid_number", "invalid_address")
    return number


def basic(user: str, password: str) -> str:
    """Return the HTTP Basic authorization header."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def sender_id(given: str) -> str:
    """Return a sender for providers that write numbers without a plus; a name is unchanged."""
    digits = given.removeprefix("+")
    return digits if digits.isdecimal() else given


def still_wanted(message: OutgoingMessage, now: datetime) -> None:
    """Refuse a message that has expired, for providers whose API cannot set an expiry."""
    if message.deadline is not None and message.deadline <= now:
        raise UnfitError("too_late", "provider")


def mailbox(to: str) -> str:
    """Return an e-mail address: one `@`, and nothing that could inject a header."""
    if not _MAILBOX.fullmatch(to):
        raise UnfitError("invalid_mailbox", "invalid_address")
    return to


def seconds_left(message: OutgoingMessage, now: datetime, *, least: int, most: int) -> int | None:
    """Return how long the provider may keep trying, in seconds; None if the message does not expire."""
    if message.deadline is None:
        return None
    left = int((message.deadline - now).total_seconds())
    if left < least:
        raise UnfitError("too_late", "provider")
    return min(left, most)


def json_object(body: bytes) -> dict[str, Any]:
    """Return a JSON object; empty if the body is not one."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def json_objects(body: bytes) -> list[dict[str, Any]]:
    """Return the objects of a JSON list, or a single object; empty if the body is neither."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    return [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, dict)]


def form(body: bytes) -> dict[str, str]:
    """Return the fields of a form."""
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def multipart(callback: Callback) -> dict[str, bytes]:
    """Return the fields of a multipart form, without its files."""
    kind = callback.headers.get("content-type", "")
    whole = BytesParser(policy=HTTP).parsebytes(f"content-type: {kind}\r\n\r\n".encode("latin-1", "replace") + callback.body)
    fields: dict[str, bytes] = {}
    for part in whole.iter_parts() if whole.is_multipart() else ():
        name, content = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes) and part.get_filename() is None:
            fields[name] = content
    return fields


def text(value: object) -> str | None:
    """Return a text or number from an answer as a string; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return None
    return str(value)


def moment(value: object) -> datetime | None:
    """Return a time written with its offset."""
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return at if at.tzinfo else None


def at_epoch(value: object) -> datetime | None:
    """Return the time for a number of seconds since 1970."""
    try:
        return datetime.fromtimestamp(int(str(value)), tz=UTC)
    except (ValueError, OverflowError, OSError):
        return None
