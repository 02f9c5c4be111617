"""Events over HTTP: decode once, publish to the topic, answer when they are durable."""

from __future__ import annotations

import asyncio
from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import dataclass, field

from prometheus_client import Histogram
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from libs.common.bodies import MOST_BYTES
from libs.common.bus.gathering import Publish
from libs.common.bus.ports import Message, partition_of
from libs.common.clock import stopwatch
from libs.common.contracts.catalogue import BORROWER_EVENTS_TOPIC, HEARTBEAT, LOAN_EVENTS_TOPIC, of_tenant
from libs.common.contracts.wallet_borrowers import BORROWER_EVENTS
from libs.common.errors import DomainError, TransientError
from libs.common.turns import Turns
from services.ingest import decoding
from services.ingest.decoding import Posted, Refusal
from services.ingest.observing import OVER_HTTP, IngestMetrics

SWALLOWED_BYTES = 128 * 1024 * 1024
"""This much of an oversized body is read and dropped, so that the caller gets the answer instead of a broken pipe."""
EVENTS = 10_000
ANSWER_WITHIN_S = 5.0
"""If the broker has not taken the events by then, it may still do so; the sender is told to retry."""

ONE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
NDJSON = "application/x-ndjson"
_NOT_DURABLE = "the events could not be made durable in time; some may still be accepted. Send all of them again: a repeat changes nothing"
_ABOUT_BORROWERS = frozenset(BORROWER_EVENTS) - {HEARTBEAT}


@dataclass(frozen=True, slots=True)
class Answer:
    """How many events were accepted, and which were not and why."""

    accepted: int
    rejected: list[dict[str, object]]


@dataclass(frozen=True, slots=True)
class HttpIntake:
    """Publishes events received over HTTP to the wallets' topics."""

    publish: Publish
    partitions: int
    tenants: Sequence[str]
    metrics: IngestMetrics
    durable: Histogram
    within_s: float | None = ANSWER_WITHIN_S
    turns: Turns = field(default_factory=Turns)

    async def take(self, tenant: str, content_type: str, receive: Receive) -> Answer:
        """Process a body and return when its events are durable."""
        began = stopwatch()
        if tenant not in self.tenants:
            raise DomainError(403, "unknown_tenant", "there are no topics here for the tenant of this key")
        kind = content_type.partition(";")[0].strip().lower()
        if kind not in (ONE, BATCH, NDJSON):
            raise DomainError(415, "unsupported_media_type", f"send {ONE}, {BATCH} or {NDJSON}")
        parts = _split(kind, await _read(receive))
        found = [decoding.posted(parts[0])] if len(parts) == 1 else await self.turns.each(parts, decoding.posted)
        if kind == ONE and isinstance(found[0], Refusal):
            self._count("rejected", 1)
            status = 400 if found[0].error == "not_json" else 422
            raise DomainError(status, found[0].error, found[0].detail, id=found[0].event_id)
        answer = await self._publish(tenant, found)
        self.durable.observe(stopwatch() - began)
        return answer

    async def _publish(self, tenant: str, found: Sequence[Posted | Refusal]) -> Answer:
        messages, rejected = self._sorted(tenant, found)
        try:
            async with asyncio.timeout(self.within_s):
                await self.publish(messages)
        except (TransientError, TimeoutError) as error:
            self._count("unavailable", len(messages))
            raise DomainError(503, "unavailable", _NOT_DURABLE, headers={"Retry-After": "2"}) from error
        self._count("accepted", len(messages))
        self._count("rejected", len(rejected))
        return Answer(len(messages), rejected)

    def _sorted(self, tenant: str, found: Sequence[Posted | Refusal]) -> tuple[list[Message], list[dict[str, object]]]:
        """Return the messages of accepted events, and the rejected ones by index."""
        about_loans, about_borrowers = (of_tenant(t, tenant, first=self.tenants[0]) for t in (LOAN_EVENTS_TOPIC, BORROWER_EVENTS_TOPIC))
        messages: list[Message] = []
        rejected: list[dict[str, object]] = []
        for index, one in enumerate(found):
            if isinstance(one, Refusal):
                rejected.append({"index": index, "id": one.event_id, "error": one.error, "detail": one.detail})
                continue
            topic = about_borrowers if one.type in _ABOUT_BORROWERS else about_loans
            partition = partition_of(tenant, one.about, self.partitions)
            messages.append(Message(topic, partition, one.about.encode(), one.data, one.headers + OVER_HTTP))
        return messages, rejected

    def _count(self, outcome: str, number: int) -> None:
        if number:
            self.metrics.events.labels("http", outcome).inc(number)


def _split(kind: str, body: bytes) -> Sequence[bytes]:
    body = body.removeprefix(BOM_UTF8)
    if kind == ONE:
        return [body]
    found = decoding.lines(body) if kind == NDJSON else decoding.batch(body)
    if isinstance(found, Refusal):
        raise DomainError(400, found.error, found.detail)
    if len(found) > EVENTS:
        raise DomainError(413, "too_many_events", f"the request has {len(found)} events; at most {EVENTS} are allowed")
    return found


async def _read(receive: Receive) -> bytes:
    """Return the body; one that is too large is read to its end without being kept, then refused."""
    parts: list[bytes] = []
    size, more = 0, True
    while more and size <= SWALLOWED_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size <= MOST_BYTES:
            parts.append(part)
    if size > MOST_BYTES:
        raise DomainError(413, "body_too_large", f"a body may have at most {MOST_BYTES} bytes", headers={"Connection": "close"})
    return b"".join(parts)
