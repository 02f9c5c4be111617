"""Ingest over HTTP, as whoever publishes a book sees it."""

from __future__ import annotations

import httpx

TIMEOUT_S = 60.0
AGAIN = frozenset((429, 502, 503, 504))


class NotSentError(RuntimeError):
    """Ingest does not take what is sent to it, whatever the rows say."""


class AgainError(NotSentError):
    """It may take it later; ids make sending twice harmless."""

    def __init__(self, sentence: str, after_s: float = 0.0) -> None:
        super().__init__(sentence)
        self.after_s = after_s


def connected(url: str, key: str) -> httpx.AsyncClient:
    """Return a client of the ingest service at this address."""
    return httpx.AsyncClient(base_url=f"{url.rstrip('/')}/", headers={"Authorization": f"Bearer {key}"}, timeout=TIMEOUT_S)


async def post(client: httpx.AsyncClient, body: bytes) -> httpx.Response:
    """Post events in NDJSON, and return the answer that takes them; raises NotSentError, AgainError where later may be better."""
    try:
        answer = await client.post("v1/events", content=body, headers={"Content-Type": "application/x-ndjson"})
    except httpx.TransportError as error:
        raise AgainError(f"ingest at {client.base_url} does not answer: {error or type(error).__name__}") from error
    if answer.status_code in AGAIN:
        wait = answer.headers.get("Retry-After", "")
        raise AgainError(f"ingest answers {answer.status_code}: {answer.text[:300]}", float(wait) if wait.isdecimal() else 0.0)
    if answer.status_code != 202:
        raise NotSentError(f"ingest answers {answer.status_code}: {answer.text[:300]}")
    return answer
