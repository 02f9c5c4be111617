"""A provider that is reached over HTTP: an account, its adapter and a carrier."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from libs.common import logs
from libs.common.clock import Clock
from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.results import NotSent, Refused, Result, Unknown
from services.notifier.providers.carrier import Carrier
from services.notifier.providers.wire import Account, Adapter, Answer, UnfitError

EARLY = timedelta(minutes=2)
"""A token is fetched anew so long before it expires."""


@dataclass(slots=True)
class HttpProvider:
    """Sends the messages of a batch at the same time, within the carrier's bounds."""

    account: Account
    adapter: Adapter
    carrier: Carrier
    clock: Clock
    sandbox: bool = False
    _token: tuple[str, datetime] | None = None
    _fetching: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def name(self) -> str:
        """Return the account's name."""
        return self.account.name

    @property
    def channels(self) -> tuple[str, ...]:
        """Return the channels of its kind."""
        return self.adapter.channels

    async def deliver(self, batch: Sequence[OutgoingMessage]) -> list[Result]:
        """Return what became of each message, in their order."""
        return list(await asyncio.gather(*(self._send(message) for message in batch)))

    async def close(self) -> None:
        """Close its connections."""
        await self.carrier.close()

    async def _send(self, message: OutgoingMessage) -> Result:
        account = await self._authorised()
        if account is None:
            return NotSent("no_token")
        try:
            call = self.adapter.request(message, account, self.clock.now())
        except UnfitError as unfit:
            return Refused(unfit.code, unfit.fault)
        outcome = await self.carrier.call(call)
        return self._read(outcome) if isinstance(outcome, Answer) else outcome

    def _read(self, answer: Answer) -> Result:
        if answer.status == 401:
            self._token = None
        try:
            return self.adapter.read(answer)
        except Exception as error:  # noqa: BLE001  # an answer that nobody foresaw says nothing about the message
            logs.get("provider").warning("answer_unreadable", provider=self.name, status=answer.status, reason=type(error).__name__)
            return Unknown("answer_unreadable")

    async def _authorised(self) -> Account | None:
        """Return the account with a token that is valid, where its kind has one; one call fetches it for all."""
        exchange = self.adapter.token
        if exchange is None:
            return self.account
        async with self._fetching:
            now = self.clock.now()
            if self._token is None or now >= self._token[1]:
                answer = await self.carrier.call(exchange.request(self.account, now))
                token = exchange.read(answer) if isinstance(answer, Answer) else None
                self._token = (token.value, now + token.expires_in - EARLY) if token else None
            if self._token is None:
                return None
            return replace(self.account, credentials=MappingProxyType({**self.account.credentials, "token": self._token[0]}))
