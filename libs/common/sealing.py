"""Personal data is sealed where it comes in and opened only by the notifier.

Each borrower has an X25519 key pair. ingest makes it, keeps the public half to seal with, and wraps the private half for the
notifier, whose own private key ingest never sees. Whoever destroys the wrapped half has erased the borrower: what was sealed stays in
the record and can be read by nobody. Sealing is ECIES: X25519, HKDF-SHA256, AES-256-GCM, with tenant, borrower and field as the
authenticated context, so that a sealed address cannot be moved to another borrower.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VERSION = b"\x01"
_NONCE = b"\x00" * 12
"""Every message has a key of its own, so a fixed nonce is never used twice under one key."""


class SealError(Exception):
    """What was sealed cannot be opened: another key, another context, or damaged."""


@dataclass(frozen=True, slots=True)
class BorrowerKey:
    """What ingest keeps of a borrower: enough to seal, not to read."""

    public: bytes
    wrapped_private: bytes


def new_pair() -> tuple[bytes, bytes]:
    """Return (private, public) of a new key pair, 32 bytes each."""
    private = X25519PrivateKey.generate()
    return private.private_bytes_raw(), private.public_key().public_bytes_raw()


def public_of(private: bytes) -> bytes:
    """Return the public half of a private key."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def new_borrower_key(notifier_public: bytes, context: str) -> BorrowerKey:
    """Make a borrower's key pair, its private half wrapped for the notifier."""
    private, public = new_pair()
    return BorrowerKey(public, seal(private, notifier_public, f"{context}/key"))


def seal(plain: bytes, public: bytes, context: str) -> bytes:
    """Seal for the holder of the private half; `context` must be given again to open."""
    ephemeral = X25519PrivateKey.generate()
    mine = ephemeral.public_key().public_bytes_raw()
    key = _derive(ephemeral.exchange(X25519PublicKey.from_public_bytes(public)), mine, public)
    return VERSION + mine + AESGCM(key).encrypt(_NONCE, plain, context.encode())


def unseal(sealed: bytes, private: bytes, context: str) -> bytes:
    """Open what was sealed for this private key in this context."""
    if sealed[:1] != VERSION or len(sealed) < 1 + 32 + 16:
        raise SealError("not sealed by this version")
    mine, holder = sealed[1:33], X25519PrivateKey.from_private_bytes(private)
    try:
        key = _derive(holder.exchange(X25519PublicKey.from_public_bytes(mine)), mine, holder.public_key().public_bytes_raw())
        return AESGCM(key).decrypt(_NONCE, sealed[33:], context.encode())
    except (InvalidTag, ValueError):
        raise SealError("another key or another context") from None


def digest(key: bytes, *parts: str) -> bytes:
    """Return a keyed hash: equal for equal parts, meaningless without the key."""
    return hmac.digest(key, "\x1f".join(parts).encode(), hashlib.sha256)


def lookup(key: bytes, tenant: str, channel: str, address: str) -> str:
    """Return by what an address is known again, as it stands in a profile: equal for equal addresses of a channel."""
    normal = address.strip().lower() if channel == "email" else address.strip()
    return as_text(digest(key, tenant, channel, normal))


def as_text(sealed: bytes) -> str:
    """Return sealed bytes as they stand in JSON."""
    return base64.b64encode(sealed).decode()


def from_text(text: str) -> bytes:
    """Return sealed bytes out of JSON."""
    return base64.b64decode(text)


def random_key() -> bytes:
    """Return 32 random bytes."""
    return os.urandom(32)


def _derive(shared: bytes, ephemeral: bytes, public: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"dunwell seal 1" + ephemeral + public).derive(shared)
