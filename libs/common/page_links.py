"""Links to the borrower's page, for messages: signed, so that none has to be stored and nobody can make one without the key."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from libs.common import ids, sealing

TOKEN_CHARS = 32
"""13 bytes of a task's id and an 11-byte (88-bit) mark: an SMS is paid for by its length."""
_ID_BYTES = 13
_MARK_BYTES = 11
_TASK = "t"


@dataclass(frozen=True, slots=True)
class PageLinks:
    """Where borrowers reach their page, and what its links are signed with."""

    url: str
    key: bytes

    def of(self, tenant: str, task_id: str) -> str | None:
        """Return the link for a task's message; None for a task not planned by a policy."""
        token = token_of(self.key, tenant, task_id)
        return None if token is None else f"{self.url}/b/{token}"


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies links of these tenants, signed with the newest key or an earlier one."""

    keys: tuple[bytes, ...] = ()
    tenants: tuple[str, ...] = ()

    def read(self, token: str) -> tuple[str, str] | None:
        """Return the tenant and task of a token; None where it is not one of ours."""
        return task_of(self.keys, self.tenants, token)


def token_of(key: bytes, tenant: str, task_id: str) -> str | None:
    """Return the token of a task; None where its id is not of the kind that a policy assigns."""
    number = ids.number_of(_TASK, task_id)
    if number is None:
        return None
    return base64.urlsafe_b64encode(number.to_bytes(_ID_BYTES) + _mark(key, tenant, task_id)).decode()


def task_of(keys: Iterable[bytes], tenants: Iterable[str], token: str) -> tuple[str, str] | None:
    """Return the (tenant, task) of a token signed with one of the keys, else None; nothing has to be looked up."""
    if len(token) != TOKEN_CHARS:
        return None
    try:
        raw = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    number = int.from_bytes(raw[:_ID_BYTES])
    if number.bit_length() > 5 * 20:
        return None
    task_id, mark = ids.numbered(_TASK, number), raw[_ID_BYTES:]
    signed = ((tenant, _mark(key, tenant, task_id)) for key in keys for tenant in tenants)
    return next(((tenant, task_id) for tenant, ours in signed if hmac.compare_digest(mark, ours)), None)


def _mark(key: bytes, tenant: str, task_id: str) -> bytes:
    return sealing.digest(key, "page", tenant, task_id)[:_MARK_BYTES]
