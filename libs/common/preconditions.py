"""`If-Match`: nobody overwrites what they have not seen."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header

from libs.common.errors import DomainError

IfMatch = Annotated[str | None, Header(alias="If-Match")]


def tag_of(version: int) -> str:
    """Return the ETag of a version; 0 means nothing was set."""
    return f'"{version}"'


def expect(if_match: str | None, tag: str) -> None:
    """Refuse a write by a caller who has seen another state than the one with this ETag; `*` matches any."""
    if if_match is None:
        raise DomainError(428, "precondition_required", "send If-Match with the ETag you have read")
    if if_match.strip() != "*" and tag.strip('"') not in {one.strip().strip('"') for one in if_match.split(",")}:
        raise DomainError(412, "changed_meanwhile", "somebody has changed it since; read it again", headers={"ETag": tag})
