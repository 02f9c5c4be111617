"""Events over HTTP: decode once, put on the topic, answer when they are durable."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from prometheus_client import Histogram

from libs.common.bus.gathering import Publish
from libs.common.bus.ports import Message, partition_of
from libs.common.clock import stopwatch
from libs.common.contracts.catalogue import BORROWER_EVENTS_TOPIC, HEARTBEAT, LOAN_EVENTS_TOPIC, of_tenant
from libs.common.contracts.wallet_borrowers import BORROWER_EVENTS
from libs.common.errors import DomainError, TransientError
from services.ingest import decoding
from services.ingest.decoding import Refusal, WalletEvent
from services.ingest.observing import OVER_HTTP, IngestMetrics

BODY_BYTES = 16 * 1024 * 1024
SWALLOWED_BYTES = 128 * 1024 * 1024
"""Of a body that is too large, this much is read and dropped, so that the caller can read the answer instead of a broken pipe."""
EVENTS = 10_000

ONE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
NDJSON = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Answer:
    """How many were taken, and which were not and why."""

    accepted: int
    rejected: list[dict[str, object]]


@dataclass(frozen=True, slots=True)
class HttpIntake:
    """Puts what comes over HTTP on the wallets' topics."""

    publish: Publish
    partitions: int
    tenants: Sequence[str]
    metrics: IngestMetrics
    durable: Histogram

    async def take(self, tenant: str, content_type: str, body: AsyncIterator[bytes]) -> Answer:
        """Take a body in and return when its events are durable."""
        began = stopwatch()
        if tenant not in self.tenants:
            raise DomainError(403, "unknown_tenant", "this platform has no topics for the tenant of this key")
        kind = content_type.partition(";")[0].strip().lower()
        if kind not in (ONE, BATCH, NDJSON):
            raise DomainError(415, "unsupported_media_type", f"send {ONE}, {BATCH} or {NDJSON}")
        raws = _split(kind, await _read(body))
        decoded = [decoding.structured(raw) for raw in raws]
        if kind == ONE and isinstance(decoded[0], Refusal):
            self._count("rejected", 1)
            status = 400 if decoded[0].error == "not_json" else 422
            raise DomainError(status, decoded[0].error, decoded[0].detail, id=decoded[0].event_id)
        answer = await self._publish(tenant, decoded)
        self.durable.observe(stopwatch() - began)
        return answer

    async def _publish(self, tenant: str, decoded: Sequence[WalletEvent | Refusal]) -> Answer:
        taken = [event for event in decoded if isinstance(event, WalletEvent)]
        rejected: list[dict[str, object]] = [
            {"index": index, "id": one.event_id, "error": one.error, "detail": one.detail}
            for index, one in enumerate(decoded)
            if isinstance(one, Refusal)
        ]
        try:
            await self.publish([self._message(tenant, event) for event in taken])
        except TransientError as error:
            self._count("unavailable", len(taken))
            raise DomainError(
                503, "unavailable", "the events could not be made durable; send them again", headers={"Retry-After": "2"}
            ) from error
        self._count("accepted", len(taken))
        self._count("rejected", len(rejected))
        return Answer(len(taken), rejected)

    def _message(self, tenant: str, event: WalletEvent) -> Message:
        topic = BORROWER_EVENTS_TOPIC if event.type in BORROWER_EVENTS and event.type != HEARTBEAT else LOAN_EVENTS_TOPIC
        name = of_tenant(topic, tenant, first=self.tenants[0])
        partition = partition_of(tenant, event.about, self.partitions)
        return Message(name, partition, event.about.encode(), event.raw, decoding.headers_of(event) + OVER_HTTP)

    def _count(self, outcome: str, number: int) -> None:
        if number:
            self.metrics.events.labels("http", outcome).inc(number)


def _split(kind: str, body: bytes) -> Sequence[bytes]:
    if kind == ONE:
        return [body]
    found = decoding.lines(body) if kind == NDJSON else decoding.batch(body)
    if isinstance(found, Refusal):
        raise DomainError(400, found.error, found.detail)
    if len(found) > EVENTS:
        raise DomainError(413, "too_many_events", f"{len(found)} events came, {EVENTS} are allowed in one request")
    return found


async def _read(body: AsyncIterator[bytes]) -> bytes:
    """Return the body, or refuse one that is too large after reading it to its end without keeping it."""
    parts: list[bytes] = []
    size = 0
    async for part in body:
        size += len(part)
        if size <= BODY_BYTES:
            parts.append(part)
        elif size > SWALLOWED_BYTES:
            break
    if size > BODY_BYTES:
        raise DomainError(413, "body_too_large", f"a body may have {BODY_BYTES} bytes", headers={"Connection": "close"})
    return b"".join(parts)
