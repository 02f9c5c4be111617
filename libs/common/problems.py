"""Problem documents (RFC 9457): how every service reports that a request failed."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from starlette.responses import Response

PROBLEM = "application/problem+json"


def problem(status: int, code: str, detail: str, *, headers: dict[str, str] | None = None, **extra: object) -> Response:
    """Return a problem document (RFC 9457)."""
    head = {"type": f"urn:dunwell:problem:{code}", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, "code": code}
    return Response(msgspec.json.encode({**head, **extra}), status, media_type=PROBLEM, headers=headers)
