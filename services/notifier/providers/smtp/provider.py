"""Mail through an account's relay: a batch over as many persistent connections as it needs."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from libs.common import logs
from libs.common.clock import stopwatch
from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.receipts import Receipt
from services.notifier.domain.results import NO_PERMIT, NotSent, Refused, Result
from services.notifier.providers.links import Link, Terms
from services.notifier.providers.smtp.bounces import marked, reports
from services.notifier.providers.smtp.mime import assemble
from services.notifier.providers.smtp.relay import Relay, connect
from services.notifier.providers.smtp.session import Job, Mail, Offers, Session, Take, Until
from services.notifier.providers.wire import Account, Callback, UnfitError, mailbox, still_wanted

WHOLE_S = 28.0
"""Time limit for a batch: less than the sender waits for it."""
A_LANE = 4
"""Messages per additional connection: for fewer, connecting would not pay off."""
MOST_CONNECTS = 3
IDLE_S = 60.0
PAUSE_S = 10.0
"""How long after a refused login no other is tried: servers lock out clients that try too often."""


@dataclass(slots=True)
class Work:
    """A batch: what is still to be taken, and the results so far."""

    batch: Sequence[OutgoingMessage]
    until: Until
    results: dict[int, Result] = field(default_factory=dict)
    waiting: deque[int] = field(default_factory=deque)
    given_back: set[int] = field(default_factory=set)
    failure: Refused | NotSent | None = None
    """Why no further connection is available."""

    @property
    def over(self) -> bool:
        """Return whether there is nothing left to take."""
        return not self.waiting or asyncio.get_running_loop().time() > self.until.hand_over_by

    def leave_late(self) -> None:
        """Skip messages whose time to start has passed: what came in since their claim was not considered."""
        while self.waiting and _is_late(self.batch[self.waiting[0]]):
            self.results[self.waiting.popleft()] = NotSent(NO_PERMIT)

    def give_back(self, place: int) -> bool:
        """Let another connection take it; once only."""
        if place in self.given_back:
            return False
        self.given_back.add(place)
        self.waiting.append(place)
        return True

    def ended(self) -> list[Result]:
        """Return all results: what nobody took surely did not go out."""
        return [self.results.get(place, self.failure or NotSent("no_slot")) for place in range(len(self.batch))]


@dataclass(slots=True)
class SmtpProvider:
    """Carries mail for one account."""

    account: Account
    relay: Relay
    terms: Terms
    context: ssl.SSLContext | None = None
    channels: tuple[str, ...] = ("email",)
    sandbox: bool = False
    _idle: deque[Session] = field(default_factory=deque)
    _slots: asyncio.Semaphore = field(init=False)
    _connecting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _refused: tuple[float, Refused] | None = None
    _retired: bool = False

    def __post_init__(self) -> None:
        if self.context is None and self.relay.tls != "none":
            self.context = ssl.create_default_context()
        self._slots = asyncio.Semaphore(min(self.relay.connections, self.terms.at_once))

    @property
    def name(self) -> str:
        """Return the account's name."""
        return self.account.name

    async def deliver(self, batch: Sequence[OutgoingMessage]) -> list[Result]:
        """Return the result of each message, in order."""
        answer_s = self.relay.answer_s
        until = Until(asyncio.get_running_loop().time() + WHOLE_S - answer_s, answer_s)
        work = Work(batch, until, waiting=deque(range(len(batch))))
        lanes = min(self.relay.connections, self.terms.at_once, -(-len(batch) // A_LANE))
        async with asyncio.TaskGroup() as group:
            for _ in range(lanes):
                group.create_task(self._lane(work))
        if self._retired:
            await self.close()
        return work.ended()

    async def listen(self) -> None:
        """Do nothing: a relay never reports unasked."""

    async def retire(self) -> None:
        """Close idle connections; busy ones are closed when done."""
        self._retired = True
        await self.close()

    async def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            await self._idle.pop().quit()

    async def _lane(self, work: Work) -> None:
        """Carry messages over one connection, and over a new one if it ends."""
        try:
            async with asyncio.timeout_at(work.until.hand_over_by):
                await self._slots.acquire()
        except TimeoutError:
            return
        try:
            for _ in range(MOST_CONNECTS):
                work.leave_late()
                session = None if work.over else await self._session(work)
                if session is None:
                    return
                if await session.carry(self._taking(work), work.until):
                    self._keep(session)
                    return
        finally:
            self._slots.release()

    async def _session(self, work: Work) -> Session | None:
        """Return an idle connection or a new one; connecting is serialised, so that lanes do not all repeat a failure."""
        loop = asyncio.get_running_loop()
        async with self._connecting:
            while self._idle:
                session = self._idle.pop()
                if session.alive and loop.time() - session.idle_since < IDLE_S:
                    return session
                session.close()
            if self._refused is not None and loop.time() < self._refused[0]:
                work.failure = self._refused[1]
            if work.failure is not None or work.over:
                return None
            made = await connect(self.relay, public_only=self.terms.public_only, context=self.context)
            if isinstance(made, Session):
                return made
            work.failure = made
            if isinstance(made, Refused) and made.fault == "config":
                self._refused = (loop.time() + PAUSE_S, made)
        return None

    def _keep(self, session: Session) -> None:
        session.idle_since = asyncio.get_running_loop().time()
        self._idle.append(session)

    def _taking(self, work: Work) -> Take:
        """Return the source of messages for one connection; its first message counts as started once the connection was requested."""
        is_first = True

        def take(offers: Offers) -> Job | None:
            nonlocal is_first
            if not is_first:
                work.leave_late()
            is_first = False
            return self._take(work, offers)

        return take

    def _take(self, work: Work, offers: Offers) -> Job | None:
        """Return the next message that this server can carry; the others are settled here."""
        while not work.over:
            place = work.waiting.popleft()
            made = self._made(work.batch[place], offers)
            if isinstance(made, Mail):
                return Job(made, partial(work.results.__setitem__, place), partial(work.give_back, place))
            work.results[place] = made
        return None

    def _made(self, message: OutgoingMessage, offers: Offers) -> Mail | Refused:
        now = self.terms.clock.now()
        try:
            still_wanted(message, now)
            to = _for_server(message.to, offers)
            mark = marked(message.id, self.relay.key)
            content = assemble(replace(message, to=to, id=mark), self.relay.sender, now, eight_bit=offers.eight_bit)
            mail = Mail(self.relay.return_path(mark), to, content)
        except UnfitError as unfit:
            return Refused(unfit.code, unfit.fault, permanent=unfit.fault != "provider")
        except Exception as error:  # noqa: BLE001  # only this message was not given to anybody; the rest of the batch goes on
            logs.get("provider").error("mail_unmakeable", provider=self.name, reason=type(error).__name__)
            return Refused("mail_unmakeable", "config", permanent=False)
        if offers.size is not None and len(mail.content) > offers.size:
            return Refused("too_big", "content")
        return mail


def _is_late(message: OutgoingMessage) -> bool:
    return message.start_by is not None and stopwatch() > message.start_by


def _for_server(to: str, offers: Offers) -> str:
    """Return an address as this server accepts it: the domain in ASCII, the local part unchanged if the server supports Unicode."""
    local, _, domain = mailbox(to).rpartition("@")
    if not to.isprintable():
        raise UnfitError("invalid_mailbox", "invalid_address")
    if not local.isascii() and not offers.utf8:
        raise UnfitError("smtputf8_not_offered", "recipient")
    try:
        return f"{local}@{domain.encode('idna').decode()}"
    except UnicodeError:
        raise UnfitError("invalid_mailbox", "invalid_address") from None


def _bounced(callback: Callback, account: Account, now: datetime) -> Sequence[Receipt]:  # noqa: ARG001  # every kind's shape
    """Return what a bounced mail says: the body is that mail, as a server or a mailbox passed it on."""
    return reports(callback.body, account.key)


LINK = Link(
    kind="smtp", channels=("email",), check=Relay.of, settings=("host", "from"), secrets=("password",),
    optional=("port", "tls", "username", "password", "bounces_to", "connections", "timeout_s"),
    open=lambda account, terms: SmtpProvider(account, Relay.of(account), terms), receipts=_bounced,
)  # fmt: skip
