"""Publishing many events over HTTP, a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import httpx
import msgspec

from libs.common.settings import SettingsError

CHUNK = 1000
TIMEOUT_S = 60.0


def day_of(value: str) -> date:
    """Return a date that a person has typed."""
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise SettingsError(f"{value!r} is no date like 2026-01-31") from None


async def publish(events: Sequence[dict[str, Any]], *, url: str, key: str, progress: Callable[[float], None]) -> None:
    """Post events in order; the first refusal ends it with what was refused."""
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=TIMEOUT_S) as client:
        for start in range(0, len(events), CHUNK):
            body = b"\n".join(msgspec.json.encode(event) for event in events[start : start + CHUNK])
            try:
                answer = await client.post(f"{url.rstrip('/')}/v1/events", content=body, headers={"Content-Type": "application/x-ndjson"})
            except httpx.TransportError as error:
                raise SettingsError(f"ingest at {url} does not answer: {error or type(error).__name__}") from error
            if answer.status_code != 202 or answer.json()["rejected"]:
                raise SettingsError(f"ingest answered {answer.status_code}: {answer.text[:300]}")
            progress((start + CHUNK) / len(events))
