"""`Idempotency-Key`: a write repeated under its key gets the first answer again and is not done twice.

That a request is under way is committed before it is handled; that it was done, in the transaction that does it; its answer,
afterwards. A process that dies before that transaction leaves a key that is free after two minutes; one that dies after it leaves a key
that can only report the answer as lost. Nothing is done twice: a request whose key has since gone to another one cannot commit.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from contextvars import ContextVar
from dataclasses import dataclass, field

from sqlalchemy import Connection, event
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.common import idempotency, ids, logs
from libs.common.auth import Keys, token_of
from libs.common.errors import TransientError
from libs.common.idempotency import Asked, Kept
from libs.common.problems import problem

HEADER = "Idempotency-Key"
REPLAYED = b"idempotent-replayed"
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
BY_THEIR_OWN_IDS = ("/v1/events",)
"""Events are recognised by their ids for good; a key that lasts a day would add nothing."""
BODY_BYTES = 16 * 1024 * 1024
ANSWER_BYTES = 1024 * 1024
"""A longer answer is not kept: its request may be repeated."""
AGAIN_AFTER_S = 2
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_ABOUT_THE_CALLER = frozenset({401, 403, 429})
"""Answers about the caller at that moment, not about the request."""
_HEADERS_NOT_KEPT = frozenset({b"content-length", b"date", b"connection"})
_FINGERPRINTED = ("if-match", "content-type", "accept")
"""Request headers that an answer depends on."""


@dataclass(slots=True)
class _UnderWay:
    """A request under a key, until it is answered; what it leaves running is no longer part of it."""

    schema: str
    asked: Asked
    claim_id: str
    answered: bool = False


_UNDER_WAY: ContextVar[_UnderWay | None] = ContextVar("under_way", default=None)
"""The keyed request that this task handles, for the transactions it commits."""


@dataclass(slots=True)
class _Watched:
    """An answer on its way out."""

    status: int = 500
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False

    def see(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = [(name, value) for name, value in message.get("headers", ()) if name.lower() not in _HEADERS_NOT_KEPT]
        elif message["type"] == "http.response.body" and len(self.body) <= ANSWER_BYTES:
            self.body += message.get("body", b"")
            self.whole = not message.get("more_body", False)

    @property
    def kept(self) -> Kept | None:
        """Return what to replay, or None where the request may be repeated."""
        if not self.whole or self.status >= 500 or self.status in _ABOUT_THE_CALLER or len(self.body) > ANSWER_BYTES:
            return None
        return Kept(self.status, self.headers, bytes(self.body))


class AnsweringOnce:
    """The middleware in front of a service's routes."""

    def __init__(self, app: ASGIApp, *, keys: Keys) -> None:
        self._app = app
        self._keys = keys
        self._engine = keys.engine
        self._schema = keys.schema
        if not event.contains(keys.engine.sync_engine, "commit", _mark):
            event.listen(keys.engine.sync_engine, "commit", _mark)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or replay its earlier answer."""
        token = _concerns(scope)
        caller = None if token is None else await self._keys.principal(token)
        if token is None or caller is None:
            await self._app(scope, receive, send)
            return
        key = Headers(scope=scope).getlist(HEADER)
        if len(key) != 1 or not _KEY.fullmatch(key[0]):
            refusal = problem(422, "invalid_request", f"{HEADER}: 1 to 255 visible ASCII characters, given once")
            await refusal(scope, receive, send)
            return
        if (body := await _body(receive)) is None:
            await problem(413, "body_too_large", f"a body may have {BODY_BYTES} bytes here")(scope, receive, send)
            return
        asked, claim_id = Asked.by(caller, token, key[0], _fingerprint(scope, body)), ids.fresh()
        if (said := await self._before(asked, claim_id)) is not None:
            await said(scope, receive, send)
            return
        await self._handle(asked, claim_id, scope, _replayed(body, receive), send=send)

    async def _before(self, asked: Asked, claim_id: str) -> Response | None:
        """Return an answer that needs no handling of the request; None once it is noted as under way."""
        while True:
            async with self._engine.begin() as conn:
                if await idempotency.claim(conn, self._schema, asked, claim_id):
                    return None
                found = await idempotency.find(conn, self._schema, asked)
            if found is not None:  # else it has just expired
                break
        if found.request != asked.request:
            return problem(422, "idempotency_key_reused", "this key was used for another request; take a new one")
        if found.lost:
            return problem(
                409, "answer_lost", "the request was done, but its answer was lost in a crash: check the state before you repeat it"
            )
        if found.answer is None:
            again = {"Retry-After": str(AGAIN_AFTER_S)}
            return problem(409, "in_progress", "the request under this key is still under way; repeat it to get its answer", headers=again)
        kept = asked.unseal(found.answer)
        replayed = Response(kept.body, kept.status)
        replayed.raw_headers = [*kept.headers, (b"content-length", str(len(kept.body)).encode()), (REPLAYED, b"true")]
        return replayed

    async def _handle(self, asked: Asked, claim_id: str, scope: Scope, receive: Receive, *, send: Send) -> None:
        watched = _Watched()
        held: list[Message] = []

        async def watching(message: Message) -> None:
            watched.see(message)
            held.append(message)

        under_way = _UnderWay(self._schema, asked, claim_id)
        before = _UNDER_WAY.set(under_way)
        try:
            await self._app(scope, receive, watching)
        finally:
            _UNDER_WAY.reset(before)
            under_way.answered = True
            await asyncio.shield(self._after(asked, claim_id, watched.kept))
        for message in held:
            await send(message)

    async def _after(self, asked: Asked, claim_id: str, kept: Kept | None) -> None:
        """Keep the answer before it goes out, or free the key; if that fails, the key is freed when it expires."""
        try:
            async with self._engine.begin() as conn:
                if kept is None:
                    await idempotency.release(conn, self._schema, asked, claim_id)
                else:
                    await idempotency.keep(conn, self._schema, asked, claim_id, kept)
        except Exception as error:  # noqa: BLE001  # the write stands: its answer must go out whatever became of the note
            logs.get("api").warning("answer_not_kept", reason=f"{type(error).__name__}: {error}"[:200])


def _mark(conn: Connection) -> None:
    """Note that a keyed request commits; one whose key now belongs to another commits nothing."""
    under_way = _UNDER_WAY.get()
    if under_way is None or under_way.answered:
        return
    if not idempotency.mark_written(conn, under_way.schema, under_way.asked, under_way.claim_id):
        raise TransientError("the key of this request has expired")


def _concerns(scope: Scope) -> str | None:
    """Return the caller's token where a key is to be honoured; without a token no write succeeds."""
    if scope["type"] != "http" or scope["method"] not in WRITES or scope["path"].endswith(BY_THEIR_OWN_IDS):
        return None
    headers = Headers(scope=scope)
    return token_of(headers.get("authorization", "")) if HEADER in headers else None


async def _body(receive: Receive) -> bytes | None:
    """Return a whole body; None where it is larger than any we accept."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if len(body) > BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that replays a body already read."""
    given = False

    async def give() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give


def _fingerprint(scope: Scope, body: bytes) -> bytes:
    headers = Headers(scope=scope)
    parts = [scope["method"].encode(), scope["path"].encode(), scope["query_string"]]
    parts += [headers.get(name, "").encode() for name in _FINGERPRINTED]
    return hashlib.sha256(b"\0".join(parts) + b"\0" + hashlib.sha256(body).digest()).digest()
