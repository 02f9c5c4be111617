"""Answers kept for a day under their Idempotency-Key.

A kept answer is encrypted with a key derived from the caller's own key, of which only a hash is stored: some answers show a secret just
once, and nobody but the caller can open them. A token of an identity provider changes every few minutes: such a caller is known by its
name, and its answers are encrypted with a key derived from the name and the Idempotency-Key, of which only a hash is stored.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.auth import Principal, hashed

KEPT = timedelta(hours=24)
UNDER_WAY = timedelta(minutes=2)
"""Longer than any request takes; after it, the request of a dead process is forgotten."""
_NONCE_BYTES = 12


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """An answer as it was sent."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Kept).decode


@dataclass(frozen=True, slots=True)
class Asked:
    """A request under its key: whose token, which key, and a hash of everything the answer depends on."""

    token: str
    key: str
    request: bytes

    @classmethod
    def by(cls, caller: Principal, token: str, key: str, request: bytes) -> Asked:
        """Return the request of this caller, who presented this token."""
        if caller.subject is None:
            return cls(token, key, request)
        name = "\0".join(("jwt", caller.tenant, "machine" if caller.person is None else "person", caller.subject, key))
        return cls(name, hashed(key).hex(), request)

    @property
    def named(self) -> dict[str, object]:
        """Return the parameters that identify it."""
        return {"caller": hashed(self.token), "key": self.key}

    def seal(self, kept: Kept) -> bytes:
        """Return an answer that only this caller's token opens."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher().encrypt(nonce, _encode(kept), self.key.encode())

    def unseal(self, sealed: bytes) -> Kept:
        """Return the answer."""
        return _decode(self._cipher().decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], self.key.encode()))

    def _cipher(self) -> AESGCM:
        derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"dunwell idempotency 1")
        return AESGCM(derived.derive(self.token.encode()))


@dataclass(frozen=True, slots=True)
class Found:
    """What is stored under a key: the request, and its answer once there is one; `lost` where it was done but will never have one."""

    request: bytes
    answer: bytes | None
    lost: bool = False


async def claim(conn: AsyncConnection, schema: str, asked: Asked, claim_id: str) -> bool:
    """Note that this request is under way; False where its key is taken."""
    taken = await conn.execute(
        text(
            f"insert into {schema}.idempotency as i (caller, key, request, claim, expires_at)"  # the schema is ours
            " values (:caller, :key, :request, :claim, clock_timestamp() + cast(:under_way as interval))"
            " on conflict (caller, key) do update set request = excluded.request, claim = excluded.claim,"
            " written_at = null, status = null, answer = null,"
            " expires_at = excluded.expires_at where i.expires_at <= clock_timestamp() returning true"
        ),
        {**asked.named, "request": asked.request, "claim": claim_id, "under_way": UNDER_WAY},
    )
    return taken.first() is not None


async def find(conn: AsyncConnection, schema: str, asked: Asked) -> Found | None:
    """Return what is stored under a key."""
    row = (
        await conn.execute(
            text(
                "select request, answer, answer is null and written_at < clock_timestamp() - cast(:under_way as interval) as lost"
                f" from {schema}.idempotency where caller = :caller and key = :key and expires_at > clock_timestamp()"
            ),
            {**asked.named, "under_way": UNDER_WAY},
        )
    ).one_or_none()
    return Found(row.request, row.answer, bool(row.lost)) if row else None


def mark_written(conn: Connection, schema: str, asked: Asked, claim_id: str) -> bool:
    """Note in a request's own transaction that it is done; False where the key has since gone to another."""
    marked = conn.execute(
        text(
            f"update {schema}.idempotency set written_at = coalesce(written_at, clock_timestamp()),"
            " expires_at = clock_timestamp() + cast(:kept as interval) where caller = :caller and key = :key and claim = :claim"
        ),
        {**asked.named, "claim": claim_id, "kept": KEPT},
    )
    return marked.rowcount == 1


async def keep(conn: AsyncConnection, schema: str, asked: Asked, claim_id: str, kept: Kept) -> None:
    """Keep the answer of a request, if it still holds its key."""
    await conn.execute(
        text(
            f"update {schema}.idempotency set status = :status, answer = :answer,"
            " expires_at = clock_timestamp() + cast(:kept as interval) where caller = :caller and key = :key and claim = :claim"
        ),
        {**asked.named, "claim": claim_id, "status": kept.status, "answer": asked.seal(kept), "kept": KEPT},
    )


async def release(conn: AsyncConnection, schema: str, asked: Asked, claim_id: str) -> None:
    """Forget a request that failed, so that it may be repeated; one that has written stays."""
    await conn.execute(
        text(f"delete from {schema}.idempotency where caller = :caller and key = :key and claim = :claim and written_at is null"),
        {**asked.named, "claim": claim_id},
    )


async def prune(conn: AsyncConnection, schema: str, *, most: int) -> int:
    """Forget expired answers, at most so many, and return their number."""
    gone = await conn.execute(
        text(
            f"delete from {schema}.idempotency i using (select caller, key from {schema}.idempotency"
            " where expires_at <= clock_timestamp() order by expires_at limit :most for update skip locked) o"
            " where (i.caller, i.key) = (o.caller, o.key)"
        ),
        {"most": most},
    )
    return gone.rowcount
