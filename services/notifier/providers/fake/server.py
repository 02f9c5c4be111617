"""All fakes behind one HTTP port, each account under its name, so that only its base URL differs from the real one."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from email.utils import format_datetime

import msgspec
from aiohttp import web

from libs.common import ids
from libs.common.clock import Clock, WallClock
from services.notifier.domain.receipts import Standing
from services.notifier.providers.fake import (
    africastalking,
    aliyun,
    apns,
    aws,
    fcm,
    jpush,
    messagebird,
    sendgrid,
    tencent,
    twilio,
    vonage,
    webhook,
)
from services.notifier.providers.fake.speaker import Speaker, Taken, code_for, wish
from services.notifier.providers.wire import BODY_LIMIT, Account, Answer, HttpCall

SPEAKERS: Mapping[str, Speaker] = {
    "africastalking": africastalking.SPEAKER,
    "aliyun_sms": aliyun.SPEAKER,
    "apns": apns.SPEAKER,
    "aws_ses": aws.MAIL,
    "aws_sms": aws.TEXT,
    "fcm": fcm.SPEAKER,
    "jpush": jpush.SPEAKER,
    "messagebird": messagebird.SPEAKER,
    "sendgrid": sendgrid.SPEAKER,
    "tencent_sms": tencent.SPEAKER,
    "twilio": twilio.SPEAKER,
    "vonage": vonage.SPEAKER,
    "webhook": webhook.SPEAKER,
}


@dataclass(slots=True)
class FakeProviders:
    """Keeps what it accepted; a message accepted twice is kept twice."""

    accounts: Mapping[str, Account]
    delay_s: float = 0.0
    kept: list[tuple[str, Taken]] = field(default_factory=list)
    """Account name and message."""
    origin: str = ""
    clock: Clock = field(default_factory=WallClock)
    searchable: bool = True
    """Whether it answers questions about what became of messages."""
    on_taken: Callable[[str, Taken], None] | None = None
    """Called with each accepted message and its account."""
    describe: Callable[[str], object] | None = None
    """Returns the description of an account."""

    @asynccontextmanager
    async def served(
        self, host: str = "127.0.0.1", port: int = 0, *, context: ssl.SSLContext | None = None
    ) -> AsyncIterator[FakeProviders]:
        """Listen until the block ends, over TLS if there is a context; port 0 picks a free one."""
        app = web.Application(client_max_size=BODY_LIMIT)
        app.router.add_post("/{account}/{rest:.*}", self._on_request)
        app.router.add_get("/{account}/{rest:.*}", self._on_request)
        app.router.add_get("/{account}", self._on_asked)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port, ssl_context=context).start()
            self.origin = f"http{'s' if context else ''}://{host}:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()

    def account(self, name: str) -> Account:
        """Return an account configured to reach its fake."""
        account, here = self.accounts[name], f"{self.origin}/{name}"
        if "url" in account.settings:
            return replace(account, settings={**account.settings, "url": f"{here}/hook"})
        return replace(account, base_url=here)

    def answer(self, name: str, call: HttpCall) -> Answer:
        """Return the provider's answer to a call; what it accepts is kept, and so is what it leaves unknown."""
        account = self.accounts[name]
        speaker = SPEAKERS[account.kind]
        if (said := self._searched(name, speaker, call)) is not None:
            return said
        taken = speaker.take(call, account, ids.fresh().replace("-", ""))
        if isinstance(taken, Answer):
            return taken
        taken = replace(taken, at=self.clock.now())
        meaning = wish(taken.to)
        code = code_for(speaker, meaning) if meaning is not None else None
        if code is None or meaning == "unknown":
            self.kept.append((name, taken))
            if self.on_taken is not None:
                self.on_taken(name, taken)
        return speaker.accept(taken) if code is None else speaker.refuse(taken, code)

    def _searched(self, name: str, speaker: Speaker, call: HttpCall) -> Answer | None:
        mine = [taken for account, taken in self.kept if account == name]
        said = speaker.search(call, self.accounts[name], mine) if speaker.search and self.searchable else None
        return Answer(404, {}, b"") if said is None and call.method == "GET" else said

    def note(self, name: str, ref: str, standing: Standing) -> None:
        """Set how far a message has come."""
        self.kept[:] = [(of, replace(one, standing=standing) if (of, one.ref) == (name, ref) else one) for of, one in self.kept]

    async def _on_asked(self, request: web.Request) -> web.Response:
        name = request.match_info["account"]
        if name not in self.accounts or self.describe is None:
            raise web.HTTPNotFound
        return web.Response(body=msgspec.json.encode(self.describe(name)), content_type="application/json")

    async def _on_request(self, request: web.Request) -> web.Response:
        name = request.match_info["account"]
        if name not in self.accounts:
            raise web.HTTPNotFound
        headers = {key.lower(): value for key, value in request.headers.items()}
        call = HttpCall(f"{self.origin}{request.raw_path}", headers, await request.read(), "GET" if request.method == "GET" else "POST")
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        said = self.answer(name, call)
        return web.Response(
            status=said.status, headers={**said.headers, "date": format_datetime(self.clock.now(), usegmt=True)}, body=said.body
        )
