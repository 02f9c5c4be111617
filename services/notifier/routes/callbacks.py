"""A provider's incoming request."""

from __future__ import annotations

from fastapi import Request

from libs.common.api import body_of
from services.notifier.providers.wire import Callback

LARGEST = 1_048_576
"""SendGrid posts batches of up to 768 KB, and repeats them if they are refused."""


async def callback_of(request: Request, url: str) -> Callback:
    """Return a request in the form adapters read: with the public URL that the sender called and may have signed."""
    query = request.scope["query_string"].decode("latin-1")
    headers = {key.lower(): value for key, value in request.headers.items()}
    return Callback(request.method, f"{url}?{query}" if query else url, headers, await body_of(request, most=LARGEST))
