"""One connection to a mail server, and how far each message on it has come.

A server can only accept a message whose final dot it has seen. Until that dot is written to the connection the message surely did not go
out, whatever happens to the connection; after that, until the reply, nobody can say. If the server offers PIPELINING (RFC 2920) a
message costs one round trip: its text, its dot and the next message's envelope leave in one write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from services.notifier.domain.results import NotSent, Refused, Result, Unknown
from services.notifier.providers.smtp.replies import CLOSING, Reply, UnreadableError, outcome, read, refusal

ENVELOPE_S = 6.0
"""Time limit for all replies to an envelope."""
GO_ON = 354


@dataclass(frozen=True, slots=True)
class Offers:
    """What the server can do."""

    pipelining: bool = False
    eight_bit: bool = False
    utf8: bool = False
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Mail:
    """A message as it goes out."""

    from_: str
    to: str
    content: bytes
    """Lines ending with CRLF; dots are stuffed when written."""

    @property
    def needs_utf8(self) -> bool:
        """Return whether an address is not ASCII."""
        return not (self.from_.isascii() and self.to.isascii())


@dataclass(slots=True)
class Job:
    """A mail in progress, and where its result goes."""

    mail: Mail
    settle: Callable[[Result], None]
    give_back: Callable[[], bool]
    """Offers it to another connection, as this one had ended before the mail began; False if that was already done once."""
    handed_over: bool = False
    """Whether its final dot was written: from then on the server may have it."""


Take = Callable[[Offers], Job | None]


@dataclass(frozen=True, slots=True)
class Until:
    """How long a session may go on."""

    hand_over_by: float
    """By the loop's clock: after this no text is handed over, since nobody would wait for the reply."""
    answer_s: float
    """Time limit for the reply to a whole text."""


@dataclass(slots=True)
class Session:
    """A connection; it carries one message at a time."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    offers: Offers
    carried: int = 0
    idle_since: float = 0.0
    _unclean: bool = False
    """The server may still hold part of an envelope."""
    _open: list[Job] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        """Return whether a command could be written."""
        return not (self.writer.transport.is_closing() or self.reader.at_eof() or self.reader.exception())

    async def carry(self, take: Take, until: Until) -> bool:
        """Carry everything there is to take; return whether the connection can be kept."""
        try:
            job = self._taken(take)
            written = False
            while job is not None:
                job, written = await self._one(job, take, until, written=written)
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError, UnreadableError) as error:
            self.close()
            self._give_up("answer_timeout" if isinstance(error, TimeoutError) else "connection_lost")
            return False
        except BaseException:
            self.close()
            raise
        return self.alive

    def close(self) -> None:
        """Close the connection at once."""
        self.writer.transport.abort()

    async def quit(self) -> None:
        """Close the connection with a QUIT."""
        if self.alive:
            self.writer.write(b"QUIT\r\n")
        self.writer.close()

    async def _one(self, job: Job, take: Take, until: Until, *, written: bool) -> tuple[Job | None, bool]:
        """Carry one message; return the next one, and whether its envelope has already been written."""
        async with asyncio.timeout(ENVELOPE_S):
            refused = await self._begin(job.mail, written=written)
        if refused is not None:
            self._settle(job, refused)
            if refused.code.startswith(str(CLOSING)):
                raise ConnectionResetError
            return self._taken(take), False
        if asyncio.get_running_loop().time() > until.hand_over_by:
            raise TimeoutError
        following = self._taken(take) if self.offers.pipelining else None
        reply = await self._hand_over(job, following, until.answer_s)
        self._settle(job, outcome(reply))
        self.carried += 1
        if reply.code == CLOSING:
            raise ConnectionResetError
        return (following, True) if following is not None else (self._taken(take), False)

    async def _begin(self, mail: Mail, *, written: bool) -> Refused | None:
        """Send the envelope; return why the server refuses the message, or None when it waits for the text."""
        commands = self._envelope(mail)
        together = self.offers.pipelining
        if together and not written:
            self.writer.write(b"".join(command for _, command in commands))
        said: list[tuple[str, Reply]] = []
        for stage, command in commands:
            if not together:
                self.writer.write(command)
            reply = await read(self.reader)
            said.append((stage, reply))
            if reply.code == CLOSING or (not together and not _granted(stage, reply)):
                break
        self._unclean = True
        first = next(((stage, reply) for stage, reply in said if not _granted(stage, reply)), None)
        if first is None:
            return None
        if said[-1][1].code == GO_ON:
            await self._send_nothing()
        return self._refusal(*first)

    def _refusal(self, stage: str, reply: Reply) -> Refused:
        if reply.code == CLOSING and stage in ("rset", "mail") and self.carried:
            raise ConnectionResetError  # this only says that the connection has served its time
        return refusal(stage, reply)

    async def _send_nothing(self) -> None:
        """Send an empty text to a server that waits for one although it accepted no recipient (RFC 2920, 3.1)."""
        self.writer.write(b".\r\n")
        await read(self.reader)

    async def _hand_over(self, job: Job, following: Job | None, answer_s: float) -> Reply:
        """Write a text up to its final dot, followed by the next envelope; return the reply to the text."""
        if self.writer.transport.is_closing():
            raise ConnectionResetError
        job.handed_over = True
        self._unclean = False
        content = job.mail.content.replace(b"\r\n.", b"\r\n..")
        after = b"".join(command for _, command in self._envelope(following.mail)) if following else b""
        self.writer.write(b"%b.\r\n%b" % (content, after))
        async with asyncio.timeout(answer_s):
            await self.writer.drain()
            return await read(self.reader)

    def _envelope(self, mail: Mail) -> Sequence[tuple[str, bytes]]:
        extra = b" BODY=8BITMIME" if self.offers.eight_bit and not mail.content.isascii() else b""
        extra += b" SIZE=%d" % len(mail.content) if self.offers.size else b""
        extra += b" SMTPUTF8" if self.offers.utf8 and mail.needs_utf8 else b""
        begin = [
            ("mail", b"MAIL FROM:<%b>%b\r\n" % (mail.from_.encode(), extra)),
            ("rcpt", b"RCPT TO:<%b>\r\n" % mail.to.encode()),
            ("data", b"DATA\r\n"),
        ]
        return [("rset", b"RSET\r\n"), *begin] if self._unclean else begin

    def _taken(self, take: Take) -> Job | None:
        job = take(self.offers)
        if job is not None:
            self._open.append(job)
        return job

    def _settle(self, job: Job, result: Result) -> None:
        self._open.remove(job)
        job.settle(result)

    def _give_up(self, reason: str) -> None:
        """Settle what was in progress; mails that had not begun, on a connection kept too long, go out on another."""
        for job in self._open:
            if job.handed_over:
                job.settle(Unknown(reason))
            elif not (self.carried and job.give_back()):
                job.settle(NotSent(reason))
        self._open.clear()


def _granted(stage: str, reply: Reply) -> bool:
    return reply.code == GO_ON if stage == "data" else reply.taken
