"""Ingest over HTTP, as whoever publishes a book sees it."""

from __future__ import annotations

import httpx

from libs.common.settings import SettingsError

TIMEOUT_S = 60.0
AGAIN = frozenset((429, 502, 503, 504))
ELSEWHERE = frozenset((404, 405))


class NotSentError(RuntimeError):
    """Ingest does not take what is sent to it, whatever the rows say."""


class AgainError(NotSentError):
    """It may take it later; ids make sending twice harmless."""

    def __init__(self, sentence: str, after_s: float = 0.0) -> None:
        super().__init__(sentence)
        self.after_s = after_s


def address_of(url: str) -> httpx.URL:
    """Return the address; a SettingsError says what is wrong with it."""
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise SettingsError(f"--url {url} cannot be read: {error}") from None
    if address.scheme not in {"http", "https"} or not address.host:
        raise SettingsError(f"--url must be an address like http://127.0.0.1:8000/ingest, not {url}")
    return address


def connected(url: str, key: str) -> httpx.AsyncClient:
    """Return a client of the service at this address; a SettingsError says what is wrong with the address or the key."""
    address_of(url)
    if not (key.isascii() and key.isprintable()):
        raise SettingsError("the key is none of ours: it has characters that no key has")
    return httpx.AsyncClient(base_url=f"{url.rstrip('/')}/", headers={"Authorization": f"Bearer {key}"}, timeout=TIMEOUT_S)


async def post(client: httpx.AsyncClient, body: bytes) -> httpx.Response:
    """Post events in NDJSON, and return the answer that takes them; raises NotSentError, AgainError where later may be better."""
    try:
        answer = await client.post("v1/events", content=body, headers={"Content-Type": "application/x-ndjson"})
    except httpx.TransportError as error:
        raise AgainError(f"ingest at {client.base_url} does not answer: {error or type(error).__name__}") from error
    if answer.status_code in AGAIN:
        wait = answer.headers.get("Retry-After", "")
        raise AgainError(f"ingest answers {answer.status_code}: {said_by(answer)}", float(wait) if wait.isdecimal() else 0.0)
    if answer.status_code != 202:
        where = f" at {answer.url}; is {client.base_url} ingest?" if answer.status_code in ELSEWHERE else ""
        raise NotSentError(f"ingest answers {answer.status_code}: {said_by(answer)}{where}")
    return answer


def said_by(answer: httpx.Response) -> str:
    """Return a problem's sentence, else the beginning of what was answered."""
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    return str(problem["detail"]) if isinstance(problem, dict) and problem.get("detail") else answer.text[:300]
