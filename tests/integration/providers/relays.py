"""Mail relays of these tests: providers that lead to a server on this machine, and a server that takes one command at a time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from libs.common.clock import DrivenClock
from services.notifier.domain.message import OutgoingMessage
from services.notifier.providers.links import Terms
from services.notifier.providers.smtp.provider import SmtpProvider
from services.notifier.providers.smtp.relay import Relay
from tests.unit.providers.values import NOW, a_message, an_account


async def deaf(*_: object) -> None:
    """Hear nothing."""


def a_relay(
    port: int, context: ssl.SSLContext | None = None, *, password: str | None = None, public_only: bool = False, **settings: str
) -> SmtpProvider:
    given = {"host": "127.0.0.1", "port": str(port), "tls": "none", "from": "Lender <dunning@lender.example>", **settings}
    account = an_account("smtp", {"password": password} if password else {}, given)
    return SmtpProvider(account, Relay.of(account), Terms(DrivenClock(NOW), 100, public_only, deaf), context)


def mails(count: int, *, named: str = "m", **changes: Any) -> list[OutgoingMessage]:
    return [a_message("email", "b@x.example", id=f"{named}-{place}", subject="A word", **changes) for place in range(count)]


def id_of(mail: Any) -> str:
    return str(mail["Message-ID"]).strip("<>").partition("@")[0]


@dataclass
class PlainServer:
    """What a server that offers no PIPELINING has taken; `says` answers a command in its place."""

    taken: list[Envelope] = field(default_factory=list)
    says: Callable[[str, str], str | None] = lambda _, __: None
    connections: int = 0
    commands: list[str] = field(default_factory=list)
    port: int = 0

    async def handle_MAIL(self, _: SMTP, __: Session, envelope: Envelope, address: str, options: list[str]) -> str:  # noqa: N802  # named by the library
        self.commands.append(f"MAIL {' '.join(options)}")
        if said := self.says("mail", address):
            return said
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]) -> str:  # noqa: N802
        self.commands.append(f"RCPT {address}")
        if said := self.says("rcpt", address):
            return said
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_RSET(self, _: SMTP, __: Session, ___: Envelope) -> str:  # noqa: N802
        self.commands.append("RSET")
        return "250 OK"

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:  # noqa: N802
        if said := self.says("end", envelope.rcpt_tos[0]):
            return said
        self.taken.append(envelope)
        return f"250 2.0.0 Ok: queued as {len(self.taken):05}"


@asynccontextmanager
async def plain_server(server: PlainServer, **options: Any) -> AsyncIterator[PlainServer]:
    """Listen until the end of the block; `ssl` among the options is TLS from the first byte."""
    loop = asyncio.get_running_loop()
    context = options.pop("ssl", None)

    def made() -> SMTP:
        server.connections += 1
        return SMTP(server, hostname="localhost", loop=loop, **options)

    listening = await loop.create_server(made, "127.0.0.1", 0, ssl=context)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


def only(username: str, password: str) -> Callable[..., AuthResult]:
    """Return what lets in one user."""

    def check(_: object, __: object, ___: object, ____: object, said: LoginPassword) -> AuthResult:
        return AuthResult(success=(said.login, said.password) == (username.encode(), password.encode()), handled=False)

    return check
