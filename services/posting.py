"""Publishing many events over HTTP, a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import msgspec

from libs.common.settings import SettingsError
from services.importer.client import NotSentError, connected, post

CHUNK = 1000
FIRST_YEAR, LAST_YEAR = 1975, 2190
"""Dates reach from 1970 to 2199, and a history reaches years back and months ahead of the day on which it ends."""


def day_of(value: str) -> date:
    """Return a date that a person has typed."""
    try:
        typed = date.fromisoformat(value)
    except ValueError:
        raise SettingsError(f"{value!r} is not a date like 2026-01-31") from None
    if not FIRST_YEAR <= typed.year <= LAST_YEAR:
        raise SettingsError(f"{value} lies outside the years {FIRST_YEAR} to {LAST_YEAR}")
    return typed


async def publish(events: Sequence[dict[str, Any]], *, url: str, key: str, progress: Callable[[float], None]) -> None:
    """Post events in order; the first refusal raises an error that says what was refused."""
    async with connected(url, key) as client:
        for start in range(0, len(events), CHUNK):
            body = b"\n".join(msgspec.json.encode(event) for event in events[start : start + CHUNK])
            try:
                answer = await post(client, body)
            except NotSentError as error:
                raise SettingsError(str(error)) from error
            if answer.json()["rejected"]:
                raise SettingsError(f"ingest answered {answer.status_code}: {answer.text[:300]}")
            progress((start + CHUNK) / len(events))
