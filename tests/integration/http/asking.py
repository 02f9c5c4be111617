"""What the tests of the HTTP side share: bodies, problems, a socket that really listens."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from libs.common.problems import PROBLEM
from tests.support.running import Running, bearer, served
from tests.support.wallet import Event

ONE = {"Content-Type": "application/cloudevents+json"}
BATCH = {"Content-Type": "application/cloudevents-batch+json"}
NDJSON = {"Content-Type": "application/x-ndjson"}


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The answer is a problem document of that status and code; return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    said: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "code"} <= said.keys()
    assert (said["status"], said["code"], said["type"]) == (status, code, f"urn:dunwell:problem:{code}")
    assert 5 < len(said["detail"]) < 400
    assert "Traceback" not in answer.text
    return said


async def send(running: Running, *events: object) -> httpx.Response:
    """Send a batch as it is."""
    return await running.client.post("/v1/events", content=json.dumps(events).encode(), headers=BATCH)


async def send_one(running: Running, event: object) -> httpx.Response:
    """Send a single event."""
    return await running.client.post("/v1/events", content=json.dumps(event).encode(), headers=ONE)


async def state_of(running: Running, event: Event) -> Any:
    """Return the state of the loan that an event is about."""
    return await running.get(f"/v1/loans/{event['data']['loan_id']}")


@asynccontextmanager
async def listening(running: Running) -> AsyncIterator[httpx.AsyncClient]:
    """The app behind a real server on a free port of loopback, and a client of it with the key."""
    async with served(running.service.app) as url, httpx.AsyncClient(base_url=url, headers=bearer(), timeout=60) as client:
        yield client


async def pieces(parts: Sequence[bytes]) -> AsyncIterator[bytes]:
    """Send a body without saying how long it is."""
    for part in parts:
        yield part
