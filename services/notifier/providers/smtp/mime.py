"""A message as the bytes of a mail (RFC 5322, 2045 to 2047, 8058), assembled directly: the library's tree costs ten times as much."""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from services.notifier.domain.message import OutgoingMessage

LINE = 998
"""Most bytes in a line, without its end (RFC 5322, 2.1.1)."""
WORD = 39
"""Most bytes in an encoded word: a line with one has at most 76 characters, including the header's name (RFC 2047, 2)."""
PLAIN = 66
"""Most characters in a value that stays unencoded, on one line with its name."""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_BINARY = bytes([*range(9), *range(11, 32), 127])
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
_LINK = re.compile(r"https://[!-;=?-~]{1,800}")


@dataclass(frozen=True)
class From:
    """The sender of a mail."""

    address: str
    name: str = ""

    @functools.cached_property
    def domain(self) -> bytes:
        """Return the part after the `@`."""
        return self.address.rpartition("@")[2].encode()

    @functools.cached_property
    def header(self) -> bytes:
        """Return the value of `From`."""
        name = _phrase(self.name)
        return b"%b<%b>" % (name + b"\r\n " if name else b"", self.address.encode())


def assemble(message: OutgoingMessage, sender: From, now: datetime, *, eight_bit: bool) -> bytes:
    """Return the mail: lines end with CRLF, and everything is ASCII unless the server accepts 8 bits."""
    plain = _part("plain", message.body, eight_bit=eight_bit)
    parts = [plain] if message.html is None else [plain, _part("html", message.html, eight_bit=eight_bit)]
    return b"".join((*_headers(message, sender, now), *_content(parts, message.id)))


def _headers(message: OutgoingMessage, sender: From, now: datetime) -> Iterator[bytes]:
    yield b"Date: %b\r\n" % format_datetime(now).encode()
    yield b"From: %b\r\n" % sender.header
    yield b"To: <%b>\r\n" % message.to.encode()
    yield b"Subject: %b\r\n" % text(message.subject or "")
    yield b"Message-ID: <%b@%b>\r\n" % (message.id.encode(), sender.domain)
    yield b"Auto-Submitted: auto-generated\r\n"
    if message.unsubscribe and _LINK.fullmatch(message.unsubscribe):
        yield b"List-Unsubscribe: <%b>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" % message.unsubscribe.encode()
    yield b"MIME-Version: 1.0\r\n"


def text(value: str) -> bytes:
    """Return a header's text, as is or in encoded words, one per line; control characters, including line ends, become spaces."""
    value = _CONTROLS.sub(" ", value)
    if len(value) <= PLAIN and value.isascii() and "=?" not in value and value == value.strip():
        return value.encode()
    return b"\r\n ".join(b"=?utf-8?b?%b?=" % base64.b64encode(word) for word in _words(value))


def _phrase(name: str) -> bytes:
    """Return a display name: as atoms, or encoded like a header's text."""
    name = _CONTROLS.sub(" ", name).strip()
    if _ATOMS.fullmatch(name) and len(name) <= PLAIN:
        return text(name)
    return b"\r\n ".join(b"=?utf-8?b?%b?=" % base64.b64encode(word) for word in _words(name))


def _words(value: str) -> Iterator[bytes]:
    """Yield the content of each encoded word; no character is split."""
    word = b""
    for char in value:
        more = char.encode("utf-8", "replace")
        if len(word) + len(more) > WORD:
            yield word
            word = b""
        word += more
    if word:
        yield word


def _content(parts: list[tuple[bytes, bytes]], about: str) -> Iterator[bytes]:
    if len(parts) == 1:
        yield b"\r\n".join(parts[0])
        return
    boundary = hashlib.sha256(about.encode()).hexdigest()[:40].encode()
    while any(boundary in body for _, body in parts):
        boundary = hashlib.sha256(boundary).hexdigest()[:40].encode()
    yield b'Content-Type: multipart/alternative;\r\n boundary="%b"\r\n\r\n' % boundary
    for head, body in parts:
        yield b"--%b\r\n%b\r\n%b" % (boundary, head, body)
    yield b"--%b--\r\n" % boundary


def _part(kind: str, said: str, *, eight_bit: bool) -> tuple[bytes, bytes]:
    """Return the headers and body of a text, in the encoding it needs."""
    lines = said.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace")
    if not lines.endswith(b"\n"):
        lines += b"\n"
    encoding, body = _encoded(lines, eight_bit=eight_bit)
    return b'Content-Type: text/%b; charset="utf-8"\r\nContent-Transfer-Encoding: %b\r\n' % (kind.encode(), encoding), body


def _encoded(lines: bytes, *, eight_bit: bool) -> tuple[bytes, bytes]:
    body = lines.replace(b"\n", b"\r\n")
    if (eight_bit or lines.isascii()) and lines == lines.translate(None, _BINARY) and max(map(len, lines.split(b"\n"))) <= LINE:
        return (b"7bit" if lines.isascii() else b"8bit"), body
    quoted = binascii.b2a_qp(lines).replace(b"\n", b"\r\n")
    if len(quoted) * 3 <= len(body) * 4:
        return b"quoted-printable", quoted
    return b"base64", base64.encodebytes(body).replace(b"\n", b"\r\n")
