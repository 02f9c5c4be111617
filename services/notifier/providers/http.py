"""A provider reached over HTTP: an account, its adapter and a carrier."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from types import MappingProxyType

from libs.common import logs
from libs.common.clock import Clock
from services.notifier.domain.asking import AROUND, Question, Search
from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.results import NotSent, Refused, Result, Unknown
from services.notifier.providers.carrier import Carrier
from services.notifier.providers.wire import Account, Adapter, Answer, HttpCall, Minted, Token, TokenExchange, UnfitError

EARLY = timedelta(minutes=2)
"""How long before its expiry a token is renewed."""
PAUSE = timedelta(seconds=10)
"""How long after a refusal of a token no other is requested: a batch must not request one per message."""
TOKEN_S = 6.0
UNAUTHENTICATED = 401
NOT_NOW = frozenset({408, 429})
"""Statuses of a token request that do not count against the account."""


@dataclass(slots=True)
class Keeper:
    """Keeps an account's token; one request fetches it for all messages."""

    account: Account
    exchange: TokenExchange | Minted
    carrier: Carrier
    _held: Token | Refused | NotSent = field(default_factory=lambda: NotSent("no_token"))
    _until: datetime | None = None
    _fetching: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def token(self, now: datetime) -> Token | Refused | NotSent:
        """Return a valid token, or the result for messages if none can be had."""
        async with self._fetching:
            if self._until is None or now >= self._until:
                self._held = await self._fetch(now)
                self._until = now + (max(PAUSE, self._held.expires_in - EARLY) if isinstance(self._held, Token) else PAUSE)
            return self._held

    def forget(self, token: Token) -> None:
        """Fetch a new token next time, if the refused one is still the current one."""
        if self._held is token:
            self._until = None

    async def _fetch(self, now: datetime) -> Token | Refused | NotSent:
        try:
            made = self.exchange.request(self.account, now)
        except Exception as error:  # noqa: BLE001  # an unusable key is the account's fault, and no call was made
            logs.get("provider").error("token_unmakeable", provider=self.account.name, reason=type(error).__name__)
            return Refused("token_refused", "config", permanent=False)
        return made if isinstance(made, Token) else await self._ask(made)

    async def _ask(self, call: HttpCall) -> Token | Refused | NotSent:
        try:
            async with asyncio.timeout(TOKEN_S):
                answer = await self.carrier.call(call)
        except TimeoutError:
            return NotSent("no_token")
        if not isinstance(answer, Answer) or answer.status >= 500 or answer.status in NOT_NOW:
            return NotSent("no_token")
        return self._token(answer) or Refused("token_refused", "config", permanent=False)

    def _token(self, answer: Answer) -> Token | None:
        return self.exchange.read(answer) if isinstance(self.exchange, TokenExchange) else None


@dataclass(slots=True)
class HttpProvider:
    """Sends the messages of a batch concurrently, within the carrier's limits."""

    account: Account
    adapter: Adapter
    carrier: Carrier
    clock: Clock
    sandbox: bool = False
    _keeper: Keeper | None = field(init=False)

    def __post_init__(self) -> None:
        exchange = self.adapter.token
        self._keeper = Keeper(self.account, exchange, self.carrier) if exchange else None

    @property
    def name(self) -> str:
        """Return the account's name."""
        return self.account.name

    @property
    def channels(self) -> tuple[str, ...]:
        """Return the channels of its kind."""
        return self.adapter.channels

    async def deliver(self, batch: Sequence[OutgoingMessage]) -> list[Result]:
        """Return the result of each message, in order."""
        return list(await asyncio.gather(*(self._send(message) for message in batch)))

    @property
    def absent_after(self) -> timedelta | None:
        """Return how long after an attempt its absence proves it was never accepted; None if absence proves nothing."""
        return self.adapter.look_up.absent_after if self.adapter.look_up is not None else None

    async def look_up(self, question: Question) -> Search | None:
        """Ask what became of a message whose answer was lost; None if its kind cannot be asked, or there was no answer."""
        look_up = self.adapter.look_up
        if look_up is None:
            return None
        try:
            answer = await self.carrier.call(look_up.request(question, self.account, now := self.clock.now()))
            found = look_up.read(answer, question, self.account) if isinstance(answer, Answer) and answer.status == 200 else None
            if found is None or not isinstance(answer, Answer):
                return None
            return replace(found, whole=found.whole and _clocks_agree(answer, now))
        except Exception as error:  # noqa: BLE001  # whatever it is, nothing has been learnt about the message
            logs.get("provider").warning("search_failed", provider=self.name, reason=type(error).__name__)
            return None

    async def close(self) -> None:
        """Close its connections."""
        await self.carrier.close()

    async def _send(self, message: OutgoingMessage) -> Result:
        """Give it to the provider; if the token is no longer accepted, in which case nothing was taken, once more with a new one."""
        outcome = await self._given(message)
        if self._keeper and isinstance(outcome, Answer) and outcome.status == UNAUTHENTICATED:
            outcome = await self._given(message)
        return self._read(outcome) if isinstance(outcome, Answer) else outcome

    async def _given(self, message: OutgoingMessage) -> Answer | Refused | NotSent | Unknown:
        now = self.clock.now()
        token = await self._keeper.token(now) if self._keeper else None
        if isinstance(token, Refused | NotSent):
            return token
        call = self._call(message, token, now)
        if isinstance(call, Refused):
            return call
        outcome = await self.carrier.call(call, start_by=message.start_by)
        if self._keeper and token and isinstance(outcome, Answer) and outcome.status == UNAUTHENTICATED:
            self._keeper.forget(token)
        return outcome

    def _call(self, message: OutgoingMessage, token: Token | None, now: datetime) -> HttpCall | Refused:
        try:
            return self.adapter.request(message, self._with(token), now)
        except UnfitError as unfit:
            return Refused(unfit.code, unfit.fault, permanent=unfit.fault not in {"config", "provider"})
        except Exception as error:  # noqa: BLE001  # only this message was not given to anybody; the rest of the batch goes on
            logs.get("provider").error("request_unmakeable", provider=self.name, reason=type(error).__name__)
            return Refused("request_unmakeable", "config", permanent=False)

    def _read(self, answer: Answer) -> Result:
        try:
            return self.adapter.read(counted(answer, self.clock.now()))
        except Exception as error:  # noqa: BLE001  # an unforeseen answer says nothing about the message
            logs.get("provider").warning("answer_unreadable", provider=self.name, status=answer.status, reason=type(error).__name__)
            return Unknown("answer_unreadable")

    def _with(self, token: Token | None) -> Account:
        if token is None:
            return self.account
        return replace(self.account, credentials=MappingProxyType({**self.account.credentials, "token": token.value}))


def counted(answer: Answer, now: datetime) -> Answer:
    """Return an answer with its `Retry-After` in seconds; if it was a date, by the clock of whoever sent it."""
    until = _moment(answer.headers.get("retry-after"))
    if until is None:
        return answer
    left = until - (_moment(answer.headers.get("date")) or now)
    return replace(answer, headers={**answer.headers, "retry-after": str(max(0, round(left.total_seconds())))})


def _moment(said: str | None) -> datetime | None:
    try:
        at = parsedate_to_datetime(said or "")
    except (ValueError, OverflowError):
        return None
    return at if at.tzinfo else None


def _clocks_agree(answer: Answer, now: datetime) -> bool:
    """Return whether a provider's clock agrees with ours: otherwise its record of a message may lie outside the interval searched."""
    said = _moment(answer.headers.get("date"))
    return said is not None and abs(said - now) <= AROUND
