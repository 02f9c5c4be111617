"""Answers kept for a day under their Idempotency-Key.

A kept answer is encrypted with a key derived from the caller's own key, of which only a hash is stored: some answers show a secret this
one time, and nobody but who asked can open them. The token of an identity provider is another one a few minutes later: such a caller is
known by its name, and its answers are encrypted with a key derived from the name and the Idempotency-Key, of which only a hash is stored.
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
"""Longer than any request takes; the request of a process that is gone is forgotten then."""
_NONCE_BYTES = 12


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """An answer as it went out."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Kept).decode


@dataclass(frozen=True, slots=True)
class Asked:
    """A request under its key: whose token, which key, and a hash of all that the answer depends on."""

    token: str
    key: str
    request: bytes

    @classmethod
    def by(cls, caller: Principal, token: str, key: str, request: bytes) -> Asked:
        """Return the request of this caller, who has shown this token."""
        if caller.subject is None:
            return cls(token, key, request)
        name = "\0".join(("jwt", caller.tenant, "machine" if caller.person is None else "person", caller.subject, key))
        return cls(name, hashed(key).hex(), request)

    @property
    def named(self) -> dict[str, object]:
        """Return what it is found by."""
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
    """What stands under a key: of which request, and its answer once there is one; `lost` where it is done and there will be none."""

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
    """Return what stands under a key."""
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
    """Note in the transaction of a request that it is done; False where the key was given to another meanwhile."""
    marked = conn.execute(
        text(
            f"update {schema}.idempotency set written_at = coalesce(written_at, clock_timestamp()),"
            " expires_at = clock_timestamp() + cast(:kept as interval) where caller = :caller and key = :key and claim = :claim"
        ),
        {**asked.named, "claim": claim_id, "kept": KEPT},
    )
    return marked.rowcount == 1


async def keep(conn: AsyncConnection, schema: str, asked: Asked, claim_id: str, kept: Kept) -> None:
    """Keep the answer of a request, if it still is this one that is under way."""
    await conn.execute(
        text(
            f"update {schema}.idempotency set status = :status, answer = :answer,"
            " expires_at = clock_timestamp() + cast(:kept as interval) where caller = :caller and key = :key and claim = :claim"
        ),
        {**asked.named, "claim": claim_id, "status": kept.status, "answer": asked.seal(kept), "kept": KEPT},
    )


async def release(conn: AsyncConnection, schema: str, asked: Asked, claim_id: str) -> None:
    """Forget a request that came to nothing, so that it may be made again; one that was written stays."""
    await conn.execute(
        text(f"delete from {schema}.idempotency where caller = :caller and key = :key and claim = :claim and written_at is null"),
        {**asked.named, "claim": claim_id},
    )


async def prune(conn: AsyncConnection, schema: str, *, most: int) -> int:
    """Forget answers whose day has passed, so many at most, and return how many that was."""
    gone = await conn.execute(
        text(
            f"delete from {schema}.idempotency i using (select caller, key from {schema}.idempotency"
            " where expires_at <= clock_timestamp() order by expires_at limit :most for update skip locked) o"
            " where (i.caller, i.key) = (o.caller, o.key)"
        ),
        {"most": most},
    )
    return gone.rowcount
