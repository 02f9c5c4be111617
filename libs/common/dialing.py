"""Connections to a host that somebody else has named; on request, to public addresses only."""

from __future__ import annotations

import socket
import ssl

import aiohappyeyeballs
from aiohttp import ThreadedResolver

from libs.common.public import NotPublicError, PublicResolver, public_socket

NEXT_ADDRESS_S = 0.25
"""How long to wait for one address before the next is tried in parallel."""


async def dial(host: str, port: int, *, public_only: bool) -> socket.socket:
    """Return a connected socket; it goes to the very address that was checked."""
    resolver = PublicResolver() if public_only else ThreadedResolver()
    found = await resolver.resolve(host, port)
    infos = [(one["family"], socket.SOCK_STREAM, one["proto"], "", (one["host"], one["port"])) for one in found]
    made = await aiohappyeyeballs.start_connection(
        infos, happy_eyeballs_delay=NEXT_ADDRESS_S, socket_factory=public_socket if public_only else None
    )
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def why(error: BaseException | None) -> str:
    """Return why there was no connection, by the first cause that has a name of its own."""
    while error is not None:
        if isinstance(error, NotPublicError):
            return "address_not_public"
        if isinstance(error, ssl.SSLError):
            return "tls_failed"
        if isinstance(error, TimeoutError):
            return "connect_timeout"
        error = error.__cause__ or error.__context__
    return "connect_failed"
