"""SMS through an account's SMSC: a batch through the window of one bound connection."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from functools import partial

from libs.common import ids, logs
from libs.common.clock import stopwatch
from libs.common.dialing import dial, why
from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.receipts import Receipt
from services.notifier.domain.results import Accepted, NotSent, Refused, Result, Unknown, name_of
from services.notifier.providers.links import Link, Terms, Written, whole
from services.notifier.providers.smpp import pdu
from services.notifier.providers.smpp.alphabet import encoded
from services.notifier.providers.smpp.pdu import GENERIC_NACK, RESPONSE, Command, MalformedError, Number, Pdu, Sms
from services.notifier.providers.smpp.receipts import BASES, CODES, HAS_HEADER, ended, heard, reference
from services.notifier.providers.smpp.session import Pace, Session
from services.notifier.providers.wire import Account, UnfitError, e164, still_wanted

CONNECT_S = 6.0
BEGIN_S = 12.0
"""A part that has found no place in the window by then is left for another time."""
PAUSE_S = 10.0
"""How long after a failed bind no other is tried."""
REPORT = 1
_HOST = re.compile(r"[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}")
Part = Accepted | Refused | NotSent | Unknown


@dataclass(frozen=True, slots=True)
class Smsc:
    """Where messages go, and from which sender."""

    host: str
    port: int
    tls: bool
    bind: bytes = field(repr=False)
    source: Number
    pace: Pace
    resp_ids: str | None
    receipt_ids: str | None
    queries: bool = False
    """Whether to query messages on which it has not reported."""

    @classmethod
    def of(cls, account: Account) -> Smsc:
        """Read an account; an unusable one is refused."""
        settings = dict(account.settings)
        bases = settings.get("resp_ids"), settings.get("receipt_ids")
        if not _HOST.fullmatch(settings["host"]) or settings.get("tls", "implicit") not in ("implicit", "none"):
            raise UnfitError("host_or_tls", "config")
        if not {*bases} <= {None, *BASES}:
            raise UnfitError("resp_ids_or_receipt_ids", "config")
        if settings.get("query_sm", "false") not in ("true", "false"):
            raise UnfitError("query_sm", "config")
        made = cls(
            settings["host"], whole(settings, "port", 2775, least=1, most=65535), settings.get("tls", "implicit") == "implicit",
            pdu.bind(account.credentials["system_id"], account.credentials["password"], settings.get("system_type", "")),
            _source(settings["from"], settings), Pace(window=whole(settings, "window", 10, least=1, most=1000)), *bases,
            settings.get("query_sm") == "true",
        )  # fmt: skip
        Sms(made.source, made.source, service_type=settings.get("service_type", "")).encode()
        return made


@dataclass(slots=True)
class SmppProvider:
    """Carries SMS for one account."""

    account: Account
    smsc: Smsc
    terms: Terms
    context: ssl.SSLContext | None = None
    channels: tuple[str, ...] = ("sms",)
    sandbox: bool = False
    _session: Session | None = None
    _serving: set[asyncio.Task[None]] = field(default_factory=set)
    _binding: asyncio.Lock = field(default_factory=asyncio.Lock)
    _failed: tuple[float, Refused | NotSent] | None = None
    _retired: bool = False

    def __post_init__(self) -> None:
        if self.context is None and self.smsc.tls:
            self.context = ssl.create_default_context()

    @property
    def name(self) -> str:
        """Return the account's name."""
        return self.account.name

    async def deliver(self, batch: Sequence[OutgoingMessage]) -> list[Result]:
        """Return the result of each message, in order."""
        within = [_left(message) for message in batch]
        session = await self._bound()
        if not isinstance(session, Session):
            return [session] * len(batch)
        results = await asyncio.gather(*(self._send(session, *one) for one in zip(batch, within, strict=True)))
        await self._end_if_retired(session)
        return list(results)

    async def query(self, name: str) -> Receipt | None:
        """Query how the message with this name has ended; for most, a receipt says so without a query."""
        session = await self._bound() if self.smsc.queries and not self._retired else None
        if not isinstance(session, Session):
            return None
        begin_by = asyncio.get_running_loop().time() + BEGIN_S
        answer = await session.ask(Command.QUERY_SM, pdu.query(name, self.smsc.source), begin_by=begin_by)
        await self._end_if_retired(session)
        if not isinstance(answer, Pdu) or answer.status != 0 or answer.command != Command.QUERY_SM | RESPONSE:
            return None
        try:
            return ended(name, *pdu.queried(answer.body), self.smsc.resp_ids)
        except MalformedError:
            return None

    async def listen(self) -> None:
        """Bind, so that receipts and replies can arrive."""
        if not self._retired:
            await self._bound()

    async def retire(self) -> None:
        """Unbind once pending work has ended."""
        self._retired = True
        if self._session is not None and self._session.idle:
            await self._session.unbind()

    async def close(self) -> None:
        """Unbind now."""
        if self._session is not None:
            await self._session.unbind()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _end_if_retired(self, session: Session) -> None:
        if self._retired and session.idle:
            await session.unbind()

    async def _send(self, session: Session, message: OutgoingMessage, within_s: float) -> Result:
        """Send the first part within this time and the others once it is accepted; what was not begun surely did not go out."""
        now = asyncio.get_running_loop().time()
        try:
            still_wanted(message, self.terms.clock.now())
            parts = self._parts(message)
        except UnfitError as unfit:
            return Refused(unfit.code, unfit.fault, permanent=unfit.fault != "provider")
        except Exception as error:  # noqa: BLE001  # only this message was not given to anybody; the rest of the batch goes on
            logs.get("provider").error("sms_unmakeable", provider=self.name, reason=type(error).__name__)
            return Refused("sms_unmakeable", "config", permanent=False)
        first = await self._submit(session, parts[0], now + within_s)
        if not isinstance(first, Accepted):
            return first
        others = await asyncio.gather(*(self._submit(session, part, now + BEGIN_S) for part in parts[1:]))
        taken = [one for one in (first, *others) if isinstance(one, Accepted)]
        if len(taken) < len(parts):
            return Unknown("partial")
        refs = tuple(one.provider_ref for one in taken)
        spelled = tuple(name for one in taken for name in one.spelled) if self.smsc.queries else ()
        return Accepted(name_of(refs), parts=refs, spelled=spelled)

    def _parts(self, message: OutgoingMessage) -> list[bytes]:
        coding, bodies = encoded(message.body, message.id)
        sms = Sms(
            self.smsc.source, Number(e164(message.to)[1:], 1, 1), b"", self.account.settings.get("service_type", ""),
            HAS_HEADER if len(bodies) > 1 else 0, registered=REPORT, data_coding=coding,
            validity=f"{message.deadline.astimezone(UTC):%y%m%d%H%M%S}000+" if message.deadline else "",
        )  # fmt: skip
        return [replace(sms, message=body).encode() for body in bodies]

    async def _submit(self, session: Session, body: bytes, begin_by: float) -> Part:
        answer = await session.ask(Command.SUBMIT_SM, body, begin_by=begin_by)
        if not isinstance(answer, Pdu):
            return answer
        if answer.status == 0 and answer.command == Command.SUBMIT_SM | RESPONSE:
            try:
                named = pdu.message_id(answer.body)
            except MalformedError:
                return Unknown("answer_unreadable")
            return Accepted(reference(named, self.smsc.resp_ids), spelled=(named,)) if named else Unknown("answer_unreadable")
        return _refusal(answer)

    async def _bound(self) -> Session | Refused | NotSent:
        """Return the session, bound again if it has ended."""
        async with self._binding:
            if self._session is not None and self._session.alive:
                return self._session
            now = asyncio.get_running_loop().time()
            if self._failed is not None and now < self._failed[0]:
                return self._failed[1]
            made = await self._bind()
            if isinstance(made, Session):
                self._session, self._failed = made, None
                task = asyncio.create_task(made.run())
                self._serving.add(task)
                task.add_done_callback(self._serving.discard)
            else:
                self._failed = (now + PAUSE_S, made)
            return made

    async def _bind(self) -> Session | Refused | NotSent:
        try:
            async with asyncio.timeout(CONNECT_S):
                made = await dial(self.smsc.host, self.smsc.port, public_only=self.terms.public_only)
                reader, writer = await asyncio.open_connection(
                    sock=made, ssl=self.context, server_hostname=self.smsc.host if self.context else None
                )
                session = Session(reader, writer, self.smsc.pace, partial(self._on_said, ids.fresh()))
                try:
                    answer = await session.bind(self.smsc.bind, CONNECT_S)
                except BaseException:
                    writer.transport.abort()
                    raise
        except (OSError, TimeoutError, EOFError, MalformedError) as error:
            return NotSent(why(error))
        if answer.status == 0 and answer.command == Command.BIND_TRANSCEIVER | RESPONSE:
            return session
        writer.transport.abort()
        return _refusal(answer)

    async def _on_said(self, session: str, together: list[Pdu]) -> bool:
        """Store what the SMSC says on a connection; what cannot be read is stored as it came."""
        words: list[Receipt | Written] = []
        for one in together:
            try:
                word = heard(Sms.decode(one.body), self.smsc.receipt_ids)
            except (MalformedError, IndexError):
                logs.get("smpp").warning("deliver_sm_unreadable", provider=self.name)
                continue
            if word is not None:
                words.append(replace(word, under=f"{session}/{one.sequence}") if isinstance(word, Written) else word)
        try:
            await self.terms.hears(words, b"".join(one.encode() for one in together))
        except Exception as error:  # noqa: BLE001  # whatever it is, the SMSC is asked to send it again
            logs.get("smpp").warning("deliver_sm_not_kept", provider=self.name, reason=type(error).__name__)
            return False
        return True


def _left(message: OutgoingMessage) -> float:
    """Return how long a message may wait for a place in the window: what came in since its claim was not considered."""
    return BEGIN_S if message.start_by is None else max(0.0, min(BEGIN_S, message.start_by - stopwatch()))


def _refusal(answer: Pdu) -> Refused:
    """Return what a status means; a PDU that was not understood was not accepted."""
    meant = CODES.result(400, f"0x{answer.status:02x}", "0x03" if answer.command == GENERIC_NACK else None)
    return meant if isinstance(meant, Refused) else Refused(f"0x{answer.status:02x}", "provider", permanent=False)


def _source(sender: str, settings: dict[str, str]) -> Number:
    """Return our address: a number, a short code, or a name."""
    digits = sender.removeprefix("+")
    ton, npi = (5, 0) if not digits.isdecimal() else (1, 1) if len(digits) > 6 else (3, 0)
    return Number(
        digits if digits.isdecimal() else sender, whole(settings, "source_ton", ton, least=0, most=6),
        whole(settings, "source_npi", npi, least=0, most=18),
    )  # fmt: skip


LINK = Link(
    kind="smpp", channels=("sms",), check=Smsc.of, credentials=("system_id", "password"), settings=("host", "from"),
    optional=("port", "tls", "system_type", "service_type", "source_ton", "source_npi", "window", "resp_ids", "receipt_ids", "query_sm"),
    secrets=("password",), open=lambda account, terms: SmppProvider(account, Smsc.of(account), terms), listens=True,
)  # fmt: skip
