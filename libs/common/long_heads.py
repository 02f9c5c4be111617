"""The head of a request has an end: the server itself would keep all of one that has none."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_BYTES = 64 * 1024
"""Of a head that has not come at once; ours are a few hundred."""


class BoundedHeads(HttpToolsProtocol):
    """The server's protocol, which breaks off where a head goes on and on."""

    _in_head = False
    _size = 0

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._in_head, self._size = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that it has ended."""
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._size += len(data)
            if self._size > MOST_BYTES:
                self.send_400_response("The head of the request is too long.")
