"""An SMSC that is not ours, on loopback: it keeps what it takes, and answers as the number that is written to asks for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import smpp34

from libs.common.clock import DrivenClock
from services.notifier.domain.receipts import Receipt
from services.notifier.providers.links import Terms, Written
from services.notifier.providers.smpp.provider import SmppProvider, Smsc
from tests.support.kafka import free_port
from tests.unit.providers.values import NOW, an_account

REFUSES = {"12025550111": 0x0B, "12025550158": 0x58, "12025550108": 0x08, "12025550145": 0x65}
"""Numbers, and the status with which a message to them is refused."""
SILENT = "12025550199"
PATIENCE_S = 10.0
PARTLY = "12025550177"
"""Of what goes there only the first part is taken."""


@dataclass
class Centre:
    """The SMSC; ids begin with a letter and have zeros before them, as they are given."""

    port: int
    server: smpp34.Server
    taken: list[smpp34.SubmitSmEvent] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    bound: list[smpp34.Esme] = field(default_factory=list)
    held: list[smpp34.SubmitSmEvent] = field(default_factory=list)
    before_response: str | None = None
    """The state of a receipt that goes out before the response to its message."""

    _new: asyncio.Event = field(default_factory=asyncio.Event)

    async def has_bound(self, count: int) -> None:
        """Wait until so many connections are bound: the server tells it after the client."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.bound) < count:
                self._new.clear()
                await self._new.wait()

    async def serve(self) -> None:
        while True:
            said = await self.server.next()
            if isinstance(said, smpp34.Esme):
                self.bound.append(said)
                self._new.set()
            elif isinstance(said, smpp34.SubmitSmEvent):
                await self._on_submit(said)

    async def report(self, message_id: str, stat: str, error: str = "000") -> int:
        """Send a receipt on the newest connection, and return the status it is answered with."""
        said = f"id:{message_id} sub:001 dlvrd:001 submit date:2611240200 done date:2611240201 stat:{stat} err:{error} text:x"
        answer = await self.bound[-1].deliver_sm("Lender", said.encode(), source_addr="12025550123", esm_class=0x04)
        return answer.command_status

    async def write(self, said: str) -> int:
        """Write to us as a person would."""
        return (await self.bound[-1].deliver_sm("Lender", said.encode(), source_addr="12025550123")).command_status

    async def _on_submit(self, said: smpp34.SubmitSmEvent) -> None:
        if said.destination_addr == SILENT:
            self.taken.append(said)
            self.held.append(said)
            return
        part = said.short_message[5] if said.esm_class & 0x40 else 1
        refused = REFUSES.get(said.destination_addr) or (0x08 if said.destination_addr == PARTLY and part > 1 else None)
        if refused:
            said.reject(refused)
            return
        self.taken.append(said)
        self.ids.append(f"00A{len(self.ids):05}")
        if self.before_response:
            await self.report(self.ids[-1].lower().lstrip("0"), self.before_response)
        said.accept(self.ids[-1])


@asynccontextmanager
async def a_centre() -> AsyncIterator[Centre]:
    """Serve until the end of the block."""
    port = free_port()
    server = smpp34.Server("127.0.0.1", port, system_id="centre")
    await server.start()
    centre = Centre(port, server)
    serving = asyncio.create_task(centre.serve())
    try:
        yield centre
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await server.stop()


Hears = Callable[[Sequence[Receipt | Written], bytes], Awaitable[None]]


def a_link(port: int, hears: Hears, *, public_only: bool = False, **settings: str) -> SmppProvider:
    given = {"host": "127.0.0.1", "port": str(port), "tls": "none", "from": "Lender", **settings}
    account = an_account("smpp", {"system_id": "lender", "password": "secret"}, given)
    return SmppProvider(account, Smsc.of(account), Terms(DrivenClock(NOW), 100, public_only, hears))
