"""Which addresses are the open internet's."""

from __future__ import annotations

import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from libs.common.public import NotPublicError, PublicResolver, is_public


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1",
        "::", "::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::a00:1", "2001:db8::1", "name",
    ],
)  # fmt: skip
def test_what_is_ours_or_nobodys_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_the_open_internet_is_public(address: str) -> None:
    assert is_public(address)


class Names(AbstractResolver):
    """A resolver whose answers are given."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=one, port=port, family=family or socket.AF_INET, proto=0, flags=0) for one in self.addresses
        ]

    async def close(self) -> None:
        pass


async def test_one_address_that_is_not_public_among_those_of_a_name_refuses_the_name() -> None:
    assert len(await PublicResolver(Names("8.8.8.8", "1.1.1.1")).resolve("name")) == 2
    for addresses in (("8.8.8.8", "10.0.0.1"), ()):
        with pytest.raises(NotPublicError):
            await PublicResolver(Names(*addresses)).resolve("name")
