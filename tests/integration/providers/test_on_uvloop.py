"""Connections of our own on the loop that the services run on, which is not the one of these tests."""

from __future__ import annotations

from typing import Any

import pytest
import uvloop

from services.notifier.domain.results import Accepted, Result
from tests.integration.providers.relays import PlainServer, a_relay, mails, plain_server
from tests.integration.providers.smsc import a_centre, a_link
from tests.integration.providers.test_smpp import Ear, texts
from tests.integration.providers.tls import loopback_tls

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:aiosmtpd", "ignore::DeprecationWarning:aiosmtpd")


@pytest.mark.parametrize("tls", ["none", "starttls", "implicit"])
def test_mail_goes_out_over_every_kind_of_connection(tls: str) -> None:
    server_tls, client_tls = loopback_tls()
    options: dict[str, Any] = {"none": {}, "starttls": {"tls_context": server_tls}, "implicit": {"ssl": server_tls}}[tls]

    async def sent() -> list[Result]:
        async with plain_server(PlainServer(), **options) as server:
            provider = a_relay(server.port, None if tls == "none" else client_tls, tls=tls)
            try:
                return await provider.deliver(mails(3))
            finally:
                await provider.close()

    assert [type(result) for result in uvloop.run(sent())] == [Accepted] * 3


def test_texts_go_out_to_an_smsc() -> None:
    async def sent() -> list[Result]:
        async with a_centre() as centre:
            provider = a_link(centre.port, Ear())
            try:
                return await provider.deliver(texts(3))
            finally:
                await provider.close()

    assert [type(result) for result in uvloop.run(sent())] == [Accepted] * 3
