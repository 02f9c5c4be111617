"""An account's mail relay, and a connection to it: the library does connecting, TLS and AUTH, we send the messages."""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass, field
from email.utils import parseaddr
from typing import cast

import aiosmtplib

from libs.common.dialing import dial, why
from services.notifier.domain.results import NotSent, Refused
from services.notifier.providers.links import LOOPBACK, whole
from services.notifier.providers.smtp import replies
from services.notifier.providers.smtp.bounces import LONGEST_MARK, PLACE
from services.notifier.providers.smtp.mime import From
from services.notifier.providers.smtp.session import Offers, Session
from services.notifier.providers.wire import Account, UnfitError, mailbox

PORTS = {"starttls": 587, "implicit": 465, "none": 25}
CONNECT_S = 6.0
"""Time limit for resolving, connecting, TLS and AUTH."""
_HOST = re.compile(r"[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}")


@dataclass(frozen=True, slots=True)
class Relay:
    """Where mail goes, and from which sender."""

    host: str
    port: int
    tls: str
    sender: From
    bounces: str
    """Where bounces go; `{id}` in it is replaced by each mail's mark."""
    username: str | None
    password: str | None = field(repr=False)
    connections: int
    answer_s: float
    key: bytes = field(default=b"", repr=False)
    """The key for the marks by which bounces of our mails are recognised."""

    def return_path(self, mark: str) -> str:
        """Return the bounce address for this mark."""
        return self.bounces.replace(PLACE, mark)

    @classmethod
    def of(cls, account: Account) -> Relay:
        """Read an account; an unusable one is refused."""
        settings = dict(account.settings)
        tls = settings.get("tls", "starttls")
        host, username, password = settings["host"], settings.get("username"), account.credentials.get("password")
        if tls not in PORTS or not _HOST.fullmatch(host) or not settings["from"].isprintable():
            raise UnfitError("host_tls_or_from", "config")
        if (username is None) != (password is None):
            raise UnfitError("username_and_password", "config")
        if username and tls == "none" and host not in LOOPBACK:
            raise UnfitError("password_without_tls", "config")
        name, address = parseaddr(settings["from"])
        sender = From(_ascii_domain(address), name)
        return cls(
            host, whole(settings, "port", PORTS[tls], least=1, most=65535), tls, sender,
            _bounces(settings.get("bounces_to", sender.address)), username, password,
            whole(settings, "connections", 10, least=1, most=100), float(whole(settings, "timeout_s", 12, least=1, most=15)),
            account.key,
        )  # fmt: skip


async def connect(relay: Relay, *, public_only: bool, context: ssl.SSLContext | None) -> Session | Refused | NotSent:
    """Return a session ready for a message, or why there is none: nothing was handed over."""
    try:
        async with asyncio.timeout(CONNECT_S):
            made = await dial(relay.host, relay.port, public_only=public_only)
            client = aiosmtplib.SMTP(
                hostname=relay.host, sock=made, use_tls=relay.tls == "implicit", start_tls=relay.tls == "starttls", username=relay.username,
                password=relay.password, local_hostname=relay.sender.domain.decode(), timeout=CONNECT_S,
                tls_context=context,
            )  # fmt: skip
            await client.connect()
            try:
                await client.ehlo()
            except BaseException:
                client.close()
                raise
        return _taken_over(client)
    except aiosmtplib.SMTPAuthenticationError as error:
        return replies.refusal("auth", replies.Reply(error.code, error.message))
    except aiosmtplib.SMTPResponseException as error:
        return replies.refusal("hello", replies.Reply(error.code, error.message))
    except aiosmtplib.SMTPException as error:
        if isinstance(error, aiosmtplib.SMTPConnectError | aiosmtplib.SMTPServerDisconnected | aiosmtplib.SMTPTimeoutError):
            return NotSent(why(error))
        return Refused("starttls_or_auth_not_offered", "config", permanent=False)
    except (OSError, TimeoutError) as error:
        return NotSent(why(error))


def _taken_over(client: aiosmtplib.SMTP) -> Session:
    """Return a session that takes over the connection from a client that has done its part."""
    if client.transport is None or client.transport.is_closing():
        raise ConnectionResetError
    transport = cast("asyncio.Transport", client.transport)  # uvloop's transports are no subclass of asyncio's
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    said = client.esmtp_extensions
    offers = Offers(pipelining="pipelining" in said, eight_bit="8bitmime" in said, utf8="smtputf8" in said, size=_size(said.get("size")))
    return Session(reader, asyncio.StreamWriter(transport, protocol, reader, loop), offers)


def _size(said: str | None) -> int | None:
    return int(said) if said and said.isdecimal() and int(said) > 0 else None


def _bounces(address: str) -> str:
    """Return where bounces go, if that is a valid address with every possible mark."""
    local, _, domain = _ascii_domain(address.replace(PLACE, LONGEST_MARK)).rpartition("@")
    return f"{local.replace(LONGEST_MARK, PLACE)}@{domain}"


def _ascii_domain(address: str) -> str:
    """Return an address with its domain encoded for the wire."""
    local, _, domain = mailbox(address).rpartition("@")
    return f"{local}@{domain.encode('idna').decode()}"
