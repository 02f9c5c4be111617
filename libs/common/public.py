"""Calling only public addresses: a customer's URL must not lead to one of our own machines."""

from __future__ import annotations

import ipaddress
import socket

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult


class NotPublicError(OSError):
    """A name or address leads to something that is not public."""


def is_public(address: str) -> bool:
    """Return whether an address is on the public internet; one that embeds an IPv4 address is judged by that."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is not None:
            return inner.is_global and not inner.is_multicast
        if ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    return ip.is_global and not ip.is_multicast


_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class PublicResolver(AbstractResolver):
    """Resolves a name and refuses it when any of its addresses is not public; the connection goes to the addresses checked."""

    def __init__(self, inner: AbstractResolver | None = None) -> None:
        self._inner = inner or ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """Return the addresses of a host."""
        found = await self._inner.resolve(host, port, family)
        if not found or not all(is_public(one["host"]) for one in found):
            raise NotPublicError(f"{host} is not public")
        return found

    async def close(self) -> None:
        """Close the inner resolver."""
        await self._inner.close()


def public_socket(info: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
    """Return a socket for an address; refuse one that is not public, even if written in the URL itself."""
    family, kind, proto, _, address = info
    if not is_public(str(address[0])):
        raise NotPublicError(f"{address[0]} is not public")
    made = socket.socket(family, kind, proto)
    made.setblocking(False)
    return made
