"""From bytes to an event of the contract, or to one plain sentence saying why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from libs.common.bus.ports import Headers, Record
from libs.common.contracts.values import FIRST_DAY, LAST_DAY, Id, Moment, Source
from libs.common.contracts.wallet_borrowers import BORROWER_EVENTS, BorrowerEventData, FeedHeartbeat
from libs.common.contracts.wallet_loans import LOAN_EVENTS, LoanEventData
from libs.common.errors import NOT_JSON
from libs.common.slips import explained

EVENT_BYTES = 256 * 1024
DETAIL_LENGTH = 280

_ABOUT_BORROWERS = b"wallet.borrower."
_canonical = msgspec.json.Encoder(order="deterministic").encode


class WalletEvent(msgspec.Struct, frozen=True, gc=False):
    """An event of the contract; `content` is its data with defaults, in the canonical form that is compared and stored."""

    id: str
    source: str
    type: str
    time: datetime
    data: LoanEventData | BorrowerEventData
    content: bytes
    raw: bytes

    @property
    def about(self) -> str:
        """Return the id of the loan, borrower or source that it is about."""
        return _about(self.type, self.data, self.source)


class Posted(msgspec.Struct, frozen=True, gc=False):
    """An event of the contract on its way to a topic, where it is decoded again: attributes as headers, data as received."""

    type: str
    about: str
    headers: Headers
    data: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something is not an event of the contract; with its ids, if they can be read."""

    error: str
    detail: str
    event_id: str | None = None
    loan_id: str | None = None
    borrower_id: str | None = None


class _Attributes(msgspec.Struct, kw_only=True):
    id: Id
    source: Source
    type: str
    time: Moment
    specversion: Literal["1.0"] = "1.0"


class _Envelope(_Attributes, kw_only=True):
    data: msgspec.Raw


_envelope = msgspec.json.Decoder(_Envelope).decode
_HEADERS = {f"ce_{name}": name for name in _Attributes.__struct_fields__}
_SPEC, _JSON = ("ce_specversion", b"1.0"), ("content-type", b"application/json")
_TYPES = {name: ("ce_type", name.encode()) for name in LOAN_EVENTS | BORROWER_EVENTS}
_decoders: dict[str, msgspec.json.Decoder[Any]] = {
    name: msgspec.json.Decoder(data) for name, data in (LOAN_EVENTS | BORROWER_EVENTS).items()
}


def structured(raw: bytes) -> WalletEvent | Refusal:
    """Decode a whole CloudEvent."""
    envelope = _opened(raw)
    return envelope if isinstance(envelope, Refusal) else _with_data(envelope, bytes(envelope.data), raw)


def posted(raw: bytes) -> Posted | Refusal:
    """Check a whole CloudEvent as `structured` does, and return what to publish on its topic."""
    envelope = _opened(raw)
    if isinstance(envelope, Refusal):
        return envelope
    data = bytes(envelope.data)
    checked = _checked(envelope, data, raw)
    if isinstance(checked, Refusal):
        return checked
    time, value = checked
    about = _about(envelope.type, value, envelope.source)
    return Posted(envelope.type, about, _headers(envelope, time, about), data)


def binary(record: Record) -> WalletEvent | Refusal:
    """Decode a record of the bus: either attributes in headers and data in the value, or a whole CloudEvent in the value."""
    value, said = record.value or b"", dict(record.headers)
    if "ce_type" not in said:
        return structured(value)
    if len(value) > EVENT_BYTES:
        return Refusal("too_large", f"the event has {len(value)} bytes; at most {EVENT_BYTES} are allowed")
    try:
        attributes = msgspec.convert({name: said[header].decode() for header, name in _HEADERS.items() if header in said}, _Attributes)
    except (msgspec.ValidationError, UnicodeDecodeError) as error:
        return _refused("malformed", f"attributes in the headers: {_reason(error, _Attributes)}", value, _readable(record.header("ce_id")))
    return _with_data(attributes, value, value)


def names_borrowers(record: Record) -> bool:
    """Return whether an unreadable record, on whatever topic, looks like one about a borrower, whose data is personal."""
    return any(_ABOUT_BORROWERS in part for part in (record.value or b"", *(text for _, text in record.headers)))


def whole_of(record: Record) -> bytes:
    """Return an unreadable record as one document, with its attributes as they were in the headers."""
    value = record.value or b""
    if record.header("ce_type") is None:
        return value
    said: dict[str, Any] = {_HEADERS[name]: text.decode(errors="replace") for name, text in record.headers if name in _HEADERS}
    try:
        msgspec.json.decode(value)
    except NOT_JSON:
        return msgspec.json.encode({**said, "data_base64": value})
    return msgspec.json.encode({**said, "data": msgspec.Raw(value)})


def stored(type_: str, content: bytes) -> Any:
    """Return the data of an accepted event from its stored content."""
    return _decoders[type_].decode(content)


def lines(body: bytes) -> list[bytes]:
    """Return the non-empty lines of an NDJSON body."""
    return [line for line in body.split(b"\n") if line.strip()]


def batch(body: bytes) -> Sequence[bytes] | Refusal:
    """Return the members of a JSON batch as raw bytes."""
    try:
        return [bytes(raw) for raw in msgspec.json.decode(body, type=list[msgspec.Raw])]
    except NOT_JSON as error:
        return Refusal("not_a_list", f"a batch must be a JSON list of events: {error}"[:DETAIL_LENGTH])


def _about(type_: str, data: Any, source: str) -> str:
    if type_ in LOAN_EVENTS:
        return data.loan_id  # type: ignore[no-any-return]  # every loan event has one
    return source if isinstance(data, FeedHeartbeat) else data.borrower_id  # every other has one


def _headers(named: _Attributes, time: datetime, about: str) -> Headers:
    return (
        _SPEC,
        ("ce_id", named.id.encode()),
        ("ce_source", named.source.encode()),
        _TYPES[named.type],
        ("ce_time", time.isoformat().encode()),
        ("ce_subject", about.encode()),
        _JSON,
    )


def _opened(raw: bytes) -> _Envelope | Refusal:
    if len(raw) > EVENT_BYTES:
        return Refusal("too_large", f"the event has {len(raw)} bytes; at most {EVENT_BYTES} are allowed")
    try:
        return _envelope(raw)
    except msgspec.ValidationError as error:
        return _refused("malformed", explained(error, _Envelope), raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Refusal("not_json", f"this is not JSON: {error}"[:DETAIL_LENGTH])
    except RecursionError:
        return Refusal("not_json", "this is nested too deeply")


def _with_data(envelope: _Attributes, data: bytes, raw: bytes) -> WalletEvent | Refusal:
    checked = _checked(envelope, data, raw)
    if isinstance(checked, Refusal):
        return checked
    time, value = checked
    return WalletEvent(envelope.id, envelope.source, envelope.type, time, value, _canonical(value), data)


def _checked(envelope: _Attributes, data: bytes, raw: bytes) -> tuple[datetime, Any] | Refusal:
    """Return the time in UTC and the data as a value of the contract."""
    decoder, time = _decoders.get(envelope.type), envelope.time
    if decoder is None:
        return _refused("unknown_type", f"event type {envelope.type[:100]!r} is unknown; /asyncapi.json lists them all", raw, envelope.id)
    if not FIRST_DAY <= time.date() <= LAST_DAY:
        return _refused("malformed", f"time {time.isoformat()} is not between {FIRST_DAY} and {LAST_DAY}", raw, envelope.id)
    try:
        return time if time.tzinfo is UTC else time.astimezone(UTC), decoder.decode(data)
    except (*NOT_JSON, OverflowError) as error:
        return _refused("malformed", f"data: {_reason(error, decoder.type)}", raw, envelope.id)


def _refused(error: str, detail: str, raw: bytes, event_id: str | None = None) -> Refusal:
    """Return a refusal with whatever ids can be read from the input; if that is not JSON at all, the refusal says so instead."""
    loan = borrower = None
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as unreadable:
        return Refusal("not_json", f"this is not JSON: {unreadable}"[:DETAIL_LENGTH], event_id)
    except RecursionError:
        return Refusal("not_json", "this is JSON nested too deeply", event_id)
    if isinstance(found, dict):
        data = found.get("data")
        inner = data if isinstance(data, dict) else found
        event_id = event_id or _readable(found.get("id"))
        loan, borrower = _readable(inner.get("loan_id")), _readable(inner.get("borrower_id"))
    return Refusal(error, f"the event cannot be used: {detail}"[:DETAIL_LENGTH], event_id, loan, borrower)


def _reason(error: Exception, form: Any) -> str:
    return explained(error, form) if isinstance(error, msgspec.ValidationError) else str(error)


def _readable(value: object) -> str | None:
    try:
        return msgspec.convert(value, Id)
    except msgspec.ValidationError:
        return None
