"""One bound connection to an SMSC, and what is pending on it.

A request that may have been written, even in part, and has no response is unknown, whatever happens to the connection; one that was still
waiting for a place in the window was not sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from libs.common import logs
from services.notifier.domain.results import NotSent, Unknown
from services.notifier.providers.smpp import pdu
from services.notifier.providers.smpp.pdu import GENERIC_NACK, LAST_SEQUENCE, RESPONSE, Command, MalformedError, Pdu

TRY_LATER, QUEUE_FULL, UNKNOWN_COMMAND = 0x64, 0x14, 0x03
MOST_WAITING = 500
"""Most messages received from an SMSC and not yet stored; for any beyond, it is asked to retry later."""
MOST_TOGETHER = 100
Deliver = Callable[[list[Pdu]], Awaitable[bool]]
"""Takes `deliver_sm` in; False if they could not be stored and must come again."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How much may be pending, and the time limits."""

    window: int = 10
    answer_s: float = 12.0
    quiet_s: float = 30.0
    """After this long without traffic the link is tested."""
    link_s: float = 10.0


@dataclass(slots=True)
class Session:
    """A bound connection; `run` serves it until it ends."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    pace: Pace
    deliver: Deliver
    _sequence: int = 1
    _pending: dict[int, asyncio.Future[Pdu]] = field(default_factory=dict)
    _window: asyncio.Semaphore = field(init=False)
    _said: asyncio.Queue[Pdu] = field(init=False)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)
    _heard_at: float = 0.0

    def __post_init__(self) -> None:
        self._window = asyncio.Semaphore(self.pace.window)
        self._said = asyncio.Queue(MOST_WAITING)

    @property
    def alive(self) -> bool:
        """Return whether a request could be written."""
        return not self._ended.is_set() and not self.writer.transport.is_closing()

    @property
    def idle(self) -> bool:
        """Return whether nothing is pending."""
        return not self._pending

    async def bind(self, body: bytes, within_s: float) -> Pdu:
        """Bind before anything else is sent, and return the answer."""
        asked = self._next(Command.BIND_TRANSCEIVER, body)
        self.writer.write(asked.encode())
        async with asyncio.timeout(within_s):
            return await pdu.read(self.reader)

    async def ask(self, command: Command, body: bytes, *, begin_by: float) -> Pdu | NotSent | Unknown:
        """Return the response to a request, or whether it surely did not or may have gone out."""
        try:
            async with asyncio.timeout_at(begin_by):
                await self._window.acquire()
        except TimeoutError:
            return NotSent("no_slot")
        try:
            return await self._exchange(self._next(command, body), self.pace.answer_s)
        finally:
            self._window.release()

    async def run(self) -> None:
        """Read, keep the link alive and hand on what the SMSC says, until the connection ends."""
        try:
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(self._keep_link()), group.create_task(self._hand_on())]
                await self._read()
                for helper in helpers:
                    helper.cancel()
        except* (OSError, EOFError, MalformedError, TimeoutError) as ended:
            logs.get("smpp").info("session_ended", reason=type(ended.exceptions[0]).__name__)
        finally:
            self._end()

    async def unbind(self) -> None:
        """Unbind and close."""
        if self.alive:
            self.writer.write(self._next(Command.UNBIND, b"").encode())
        self.writer.close()

    async def _exchange(self, request: Pdu, within_s: float) -> Pdu | NotSent | Unknown:
        if not self.alive:
            return NotSent("connection_lost")
        answered: asyncio.Future[Pdu] = asyncio.get_running_loop().create_future()
        self._pending[request.sequence] = answered
        self.writer.write(request.encode())
        try:
            async with asyncio.timeout(within_s):
                await self.writer.drain()
                return await answered
        except TimeoutError:
            return Unknown("answer_timeout")
        except (OSError, EOFError):
            return Unknown("connection_lost")
        finally:
            self._pending.pop(request.sequence, None)

    async def _read(self) -> None:
        while True:
            heard = await pdu.read(self.reader)
            self._heard_at = asyncio.get_running_loop().time()
            if heard.command & RESPONSE:
                answered = self._pending.get(heard.sequence)
                if answered is not None and not answered.done():
                    answered.set_result(heard)
            elif not self._asked(heard):
                return

    def _asked(self, request: Pdu) -> bool:
        """Answer a request; return False if it ends the session."""
        match request.command:
            case Command.ENQUIRE_LINK:
                self.writer.write(request.response().encode())
            case Command.DELIVER_SM:
                try:
                    self._said.put_nowait(request)
                except asyncio.QueueFull:
                    self.writer.write(request.response(QUEUE_FULL, b"\0").encode())
            case Command.UNBIND:
                self.writer.write(request.response().encode())
                return False
            case _:
                self.writer.write(Pdu(GENERIC_NACK, request.sequence, UNKNOWN_COMMAND).encode())
        return True

    async def _hand_on(self) -> None:
        """Acknowledge what the SMSC says only once it is stored durably, as it would never be sent again."""
        while True:
            together = [await self._said.get()]
            while len(together) < MOST_TOGETHER and not self._said.empty():
                together.append(self._said.get_nowait())
            kept = await self.deliver(together)
            for one in together:
                self.writer.write(one.response(0 if kept else TRY_LATER, b"\0").encode())

    async def _keep_link(self) -> None:
        loop = asyncio.get_running_loop()
        self._heard_at = loop.time()
        while True:
            await asyncio.sleep(max(0.0, self._heard_at + self.pace.quiet_s - loop.time()))
            if loop.time() - self._heard_at >= self.pace.quiet_s:
                answer = await self._exchange(self._next(Command.ENQUIRE_LINK, b""), self.pace.link_s)
                if not isinstance(answer, Pdu):
                    raise ConnectionResetError

    def _next(self, command: Command, body: bytes) -> Pdu:
        made = Pdu(command, self._sequence, 0, body)
        self._sequence = self._sequence % LAST_SEQUENCE + 1
        return made

    def _end(self) -> None:
        self._ended.set()
        self.writer.transport.abort()
        for answered in self._pending.values():
            if not answered.done():
                answered.set_exception(ConnectionResetError())
