"""CloudEvents 1.0 on the bus: binary mode, attributes in `ce_*` headers, JSON in the value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeVar

import msgspec

from libs.common.bus.ports import Headers, Message, Record, partition_of
from libs.common.contracts import corrections
from libs.common.contracts.catalogue import Topic
from libs.common.contracts.corrections import CorrectedDays
from libs.common.errors import PoisonError

T = TypeVar("T", bound=msgspec.Struct)
_SPEC = ("ce_specversion", b"1.0")
_JSON = ("content-type", b"application/json")
_encode = msgspec.json.Encoder(order="deterministic").encode


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """The attributes around the data of one of our messages."""

    type: str
    id: str
    source: str
    time: datetime
    tenant: str
    subject: str
    corrects: tuple[CorrectedDays, ...] = ()
    """The past days about which this fact corrects earlier ones."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Makes the messages of one service for a fixed number of partitions."""

    source: str
    partitions: int

    def message(self, topic: Topic, envelope: Envelope, data: msgspec.Struct | None, *, key: str, borrower_id: str) -> Message:
        """Return a message on the borrower's partition; `data` None is a tombstone for the key."""
        value = None if data is None else _encode(data)
        return Message(topic.name, partition_of(envelope.tenant, borrower_id, self.partitions), key.encode(), value, headers_of(envelope))

    def broadcast(self, topic: Topic, envelope: Envelope, data: msgspec.Struct, *, key: str) -> list[Message]:
        """Return the same message for every partition."""
        headers, value = headers_of(envelope), _encode(data)
        return [Message(topic.name, p, key.encode(), value, headers) for p in range(self.partitions)]


@lru_cache(maxsize=64)
def _written(time: datetime) -> bytes:
    """Return a moment as a header value; all messages of a batch share it, so it is cached."""
    return time.astimezone(UTC).isoformat().encode()


def headers_of(envelope: Envelope) -> Headers:
    """Return the attributes as headers."""
    headers = (
        _SPEC,
        ("ce_type", envelope.type.encode()),
        ("ce_id", envelope.id.encode()),
        ("ce_source", envelope.source.encode()),
        ("ce_time", _written(envelope.time)),
        ("ce_subject", envelope.subject.encode()),
        ("ce_tenant", envelope.tenant.encode()),
        _JSON,
    )
    if not envelope.corrects:
        return headers
    return (*headers, *((f"ce_{name}", value.encode()) for name, value in corrections.written(envelope.corrects).items()))


@dataclass(frozen=True, slots=True)
class Reader:
    """Decodes the messages of one topic."""

    decoders: Mapping[str, msgspec.json.Decoder[msgspec.Struct]]

    @classmethod
    def of(cls, *topics: Topic) -> Reader:
        """Return the reader of these topics' types."""
        return cls({name: msgspec.json.Decoder(struct) for topic in topics for name, struct in topic.types.items()})

    def read(self, record: Record) -> tuple[Envelope, msgspec.Struct | None]:
        """Return a message's attributes and data (None: a tombstone); PoisonError when it is not one of ours."""
        headers = dict(record.headers)
        try:
            envelope = Envelope(
                type=headers["ce_type"].decode(), id=headers["ce_id"].decode(), source=headers["ce_source"].decode(),
                time=datetime.fromisoformat(headers["ce_time"].decode()), tenant=headers["ce_tenant"].decode(),
                subject=headers["ce_subject"].decode(), corrects=_corrected(headers),
            )  # fmt: skip
            decoder = self.decoders[envelope.type]
            return envelope, None if record.value is None else decoder.decode(record.value)
        except KeyError as error:
            raise PoisonError("unreadable", f"no {error} is known") from error
        except (ValueError, msgspec.MsgspecError) as error:
            raise PoisonError("unreadable", str(error)[:300]) from error


def _corrected(headers: Mapping[str, bytes]) -> tuple[CorrectedDays, ...]:
    if f"ce_{corrections.FROM}" not in headers:
        return ()
    return corrections.read({name: headers[f"ce_{name}"].decode() for name in corrections.ATTRIBUTES if f"ce_{name}" in headers})
