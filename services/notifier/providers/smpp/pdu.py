"""SMPP 3.4 on the wire: the header, and the bodies we send and receive (Protocol Specification v3.4, issue 1.2)."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

HEADER = struct.Struct(">IIII")
LONGEST = 65_536
"""Most bytes in a PDU; anything longer is malformed."""
LONGEST_MESSAGE = 254
RESPONSE = 0x80000000
LAST_SEQUENCE = 0x7FFFFFFF


class Command(IntEnum):
    """The command of a PDU; the response to it has the highest bit set."""

    QUERY_SM = 0x03
    SUBMIT_SM = 0x04
    DELIVER_SM = 0x05
    UNBIND = 0x06
    BIND_TRANSCEIVER = 0x09
    ENQUIRE_LINK = 0x15


GENERIC_NACK = RESPONSE


class MalformedError(Exception):
    """These bytes are not a PDU, or not a valid body for this one."""


@dataclass(frozen=True, slots=True)
class Pdu:
    """A PDU with an uninterpreted body."""

    command: int
    sequence: int
    status: int = 0
    body: bytes = b""

    def encode(self) -> bytes:
        """Return it as bytes."""
        return HEADER.pack(HEADER.size + len(self.body), self.command, self.status, self.sequence) + self.body

    def response(self, status: int = 0, body: bytes = b"") -> Pdu:
        """Return the answer to it."""
        return Pdu(self.command | RESPONSE, self.sequence, status, body)


@dataclass(frozen=True, slots=True)
class Number:
    """An address with its type of number and numbering plan."""

    value: str
    ton: int = 0
    npi: int = 0


@dataclass(frozen=True, slots=True)
class Sms:
    """The body of a `submit_sm` or a `deliver_sm`."""

    source: Number
    destination: Number
    message: bytes = b""
    service_type: str = ""
    esm_class: int = 0
    protocol_id: int = 0
    priority: int = 0
    schedule: str = ""
    validity: str = ""
    registered: int = 0
    replace: int = 0
    data_coding: int = 0
    default_id: int = 0
    options: Mapping[int, bytes] = field(default_factory=dict)
    """Optional parameters by tag."""

    def encode(self) -> bytes:
        """Return it as bytes."""
        if len(self.message) > LONGEST_MESSAGE:
            raise ValueError("too long for a short message")
        return b"".join(
            (
                _text(self.service_type, 6), _number(self.source), _number(self.destination),
                bytes((self.esm_class, self.protocol_id, self.priority)), _text(self.schedule, 17), _text(self.validity, 17),
                bytes((self.registered, self.replace, self.data_coding, self.default_id, len(self.message))), self.message,
                *(struct.pack(">HH", tag, len(value)) + value for tag, value in self.options.items()),
            )
        )  # fmt: skip

    @classmethod
    def decode(cls, body: bytes) -> Sms:
        """Read a body."""
        cursor = Cursor(body)
        service_type, source, destination = cursor.text(), cursor.number(), cursor.number()
        esm_class, protocol_id, priority = cursor.take(3)
        schedule, validity = cursor.text(), cursor.text()
        registered, replace, data_coding, default_id, length = cursor.take(5)
        return cls(
            source, destination, cursor.take(length), service_type, esm_class, protocol_id, priority, schedule, validity, registered,
            replace, data_coding, default_id, cursor.options(),
        )  # fmt: skip


@dataclass(slots=True)
class Cursor:
    """Reads a body from the start."""

    body: bytes
    at: int = 0

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        taken = self.body[self.at : self.at + count]
        if len(taken) < count:
            raise MalformedError
        self.at += count
        return taken

    def text(self) -> str:
        """Return a string terminated by a zero."""
        end = self.body.find(b"\0", self.at)
        if end < 0:
            raise MalformedError
        found = self.body[self.at : end].decode("latin-1")
        self.at = end + 1
        return found

    def number(self) -> Number:
        """Return an address."""
        ton, npi = self.take(2)
        return Number(self.text(), ton, npi)

    def options(self) -> dict[int, bytes]:
        """Return the optional parameters, which are the remainder."""
        found: dict[int, bytes] = {}
        while self.at < len(self.body):
            tag, length = struct.unpack(">HH", self.take(4))
            found.setdefault(tag, self.take(length))
        return found


def bind(system_id: str, password: str, system_type: str = "") -> bytes:
    """Return the body of an SMPP 3.4 bind, for any address."""
    return _text(system_id, 16) + _text(password, 9) + _text(system_type, 13) + bytes((0x34, 0, 0)) + _text("", 41)


def query(message_id: str, source: Number) -> bytes:
    """Return the body of a query for a message, by the name it was given and the address that sent it."""
    return _text(message_id, 65) + _number(source)


def queried(body: bytes) -> tuple[int, int]:
    """Return the state and the error of a message from the answer to a query."""
    cursor = Cursor(body)
    cursor.text()
    cursor.text()
    state, error = cursor.take(2)
    return state, error


def message_id(body: bytes) -> str:
    """Return the id from a `submit_sm_resp`; empty if there is none."""
    return Cursor(body).text() if body else ""


async def read(reader: asyncio.StreamReader) -> Pdu:
    """Return the next PDU."""
    head = await reader.readexactly(HEADER.size)
    length, command, status, sequence = HEADER.unpack(head)
    if not HEADER.size <= length <= LONGEST:
        raise MalformedError
    return Pdu(command, sequence, status, await reader.readexactly(length - HEADER.size))


def _number(number: Number) -> bytes:
    return bytes((number.ton, number.npi)) + _text(number.value, 21)


def _text(value: str, size: int) -> bytes:
    """Return a string with its terminating zero; `size` is the limit for both."""
    raw = value.encode("latin-1")
    if len(raw) >= size or b"\0" in raw:
        raise ValueError("too long for its field")
    return raw + b"\0"
