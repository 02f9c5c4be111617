"""Between us and the SMSC, what answers questions about messages by a library that is not ours; the SMSC itself refuses them all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

from smpplib import smpp

from tests.integration.providers.smsc import Centre

QUERY_SM = 0x03


@dataclass
class Queries:
    """Knows the states of messages, and passes on whatever else is said."""

    centre: Centre
    port: int = 0
    states: dict[str, tuple[int, int]] = field(default_factory=dict)
    """State and error by the id that was given."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """By id and sender."""
    ways: list[asyncio.Task[None]] = field(default_factory=list)

    async def on_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.centre.port)
        ways = [asyncio.create_task(self._pass_on(reader, back, answers=writer)), asyncio.create_task(self._pass_on(there, writer))]
        self.ways += ways
        await asyncio.wait(ways)
        back.close()

    async def _pass_on(self, of: asyncio.StreamReader, to: asyncio.StreamWriter, answers: asyncio.StreamWriter | None = None) -> None:
        try:
            while True:
                head = await of.readexactly(4)
                pdu = head + await of.readexactly(int.from_bytes(head) - 4)
                answer = self._answer(pdu) if answers and int.from_bytes(pdu[4:8]) == QUERY_SM else None
                (answers if answers and answer else to).write(answer or pdu)
        except (asyncio.IncompleteReadError, ConnectionError):
            to.close()

    def _answer(self, raw: bytes) -> bytes | None:
        sequence = int.from_bytes(raw[12:16])
        client = SimpleNamespace(next_sequence=lambda: sequence, sequence=sequence)
        question = smpp.parse_pdu(raw, client=client)
        name = question.message_id.decode()
        self.asked.append((name, question.source_addr.decode()))
        if name not in self.states:
            return None
        state, error = self.states[name]
        answer = smpp.make_pdu(
            "query_sm_resp", client=client, sequence=sequence, message_id=name, final_date="", message_state=state, error_code=error
        )
        made: bytes = answer.generate()
        return made


@asynccontextmanager
async def queried(centre: Centre) -> AsyncIterator[Queries]:
    """Serve until the end of the block."""
    queries = Queries(centre)
    server = await asyncio.start_server(queries.on_client, "127.0.0.1", 0)
    queries.port = server.sockets[0].getsockname()[1]
    try:
        yield queries
    finally:
        server.close()
        for way in queries.ways:
            way.cancel()
