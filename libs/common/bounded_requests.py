"""Limits the size and time of a request: the server itself would keep half of one for as long as its sender likes.

A request that arrives at once, as nearly all do, needs no timer.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

from httptools import HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from libs.common.bodies import LATE
from libs.common.problems import problem

MOST_BYTES = 64 * 1024
"""The limit for a head that has not arrived at once, and between two parts of a body; ours take a few hundred."""
PART_WITHIN_S = 30.0
"""A sender with an unfinished request who sends nothing for this long is given up; a whole head must have arrived by then."""
WHOLE_WITHIN_S = 300.0


class BoundedRequests(HttpToolsProtocol):
    """The server's protocol, which breaks off a request that never ends or stalls."""

    part_within_s = PART_WITHIN_S
    whole_within_s = WHOLE_WITHIN_S

    _open = True
    """A request is awaited, or has begun and not yet ended."""
    _in_head = False
    _size = 0
    _data = b""
    _began = _moved = 0.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Wait for a request."""
        super().connection_made(transport)
        self._watch(self.loop.time())

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._rest()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Note the beginning of a request and its head."""
        self._open, self._in_head, self._size, self._began = True, True, 0, self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note the end of the head; trailers after the body do not belong to it."""
        if self.parser.should_upgrade():
            return
        self._in_head = False
        super().on_headers_complete()
        self.headers = []

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._size = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note the end of a request."""
        if self.parser.should_upgrade():
            return
        self._open = False
        self._rest()
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Take the bytes that arrived."""
        self._size += len(data)
        self._data = data
        super().data_received(data)
        self._data = b""
        if self.transport.is_closing():
            return
        if self._open and self._size > MOST_BYTES:
            self._break_off(
                400, "too_long", f"a request may have at most {MOST_BYTES} bytes in its head, and between two parts of its body"
            )
        elif self._timer is None:
            if self._open or self.cycle.response_complete:  # the latter where only empty lines have arrived
                self._watch(self.loop.time())
        elif self._open and not self._in_head:
            self._moved = self.loop.time()

    def _unsupported_upgrade_warning(self) -> None:
        """Parse a request again without its upgrade: the parser would drop the body, as part of the other protocol."""
        upgrade = sys.exception()
        if self.parser.get_method() == b"CONNECT" or not isinstance(upgrade, HttpParserUpgrade):
            self._break_off(400, "not_http", "this is not a proxy")
            return
        fields = [b"%b: %b\r\n" % (name, value) for name, value in self.headers if name not in (b"upgrade", b"http2-settings")]
        start = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        self.parser = HttpRequestParser(self)
        super().data_received(b"".join((start, *fields, b"\r\n", self._data[upgrade.args[0] :])))

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not an HTTP request with a problem document."""
        self._break_off(400, "not_http", msg)

    def _watch(self, now: float) -> None:
        self._moved = now
        self._timer = self.loop.call_at(now + self.part_within_s, self._check)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        """Give up a request that stalls; check again later if it moved, or waits for us."""
        self._timer = None
        now = self.loop.time()
        due = self._moved + self.part_within_s
        if not self._in_head:
            due = min(due, self._began + self.whole_within_s)
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self._began = now
            self._watch(now)
        elif due > now:
            self._timer = self.loop.call_at(due, self._check)
        else:
            self._give_up()

    @property
    def _unanswered(self) -> RequestResponseCycle | None:
        """The newest request whose head has arrived, until it is answered."""
        cycle: RequestResponseCycle | None = self.cycle
        return None if cycle is None or cycle.response_complete else cycle

    def _give_up(self) -> None:
        cycle = self._unanswered
        if cycle is None and self._in_head:
            self._break_off(408, "head_too_slow", f"the head did not arrive within {self.part_within_s:.0f} s")
        elif cycle is None:
            self.transport.close()
        elif self._in_head or not self._open:
            self._watch(self.loop.time())
        else:
            cast("dict[str, object]", cycle.scope)[LATE] = True
            cycle.message_event.set()

    def _break_off(self, status: int, code: str, detail: str) -> None:
        """Say why and hang up; complete earlier requests are answered first."""
        cycle = self._unanswered
        if cycle is not None and (self._in_head or not self._open):
            cycle.keep_alive = False
            self.flow.pause_reading()
            return
        if cycle is None or not cycle.response_started:
            said = problem(status, code, detail, headers={"Connection": "close"})
            head = b"".join(b"%b: %b\r\n" % field for field in said.raw_headers)
            self.transport.write(b"".join((STATUS_LINE[status], head, b"\r\n", said.body)))
        self.transport.close()
