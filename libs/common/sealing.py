"""Personal data is sealed where it enters and opened only by the notifier.

Each borrower has an X25519 key pair. ingest makes it, keeps the public half to seal with, and wraps the private half for the
notifier, whose own private key ingest never sees. Destroying the wrapped half erases the borrower: sealed data stays in the
record and nobody can read it. Sealing is ECIES: X25519, HKDF-SHA256, AES-256-GCM, with tenant, borrower and field as the
authenticated context, so that a sealed address cannot be moved to another borrower. Sealed data begins with the id of the key it is
sealed for, so that the progress of a key rotation can be counted and the right key of a ring is found at once.

What the holder of a private key seals for itself needs no key exchange: AES-256-GCM under a separate key for each, which
HKDF-SHA256 expands from the private key. Opening it costs a thirtieth as much.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VERSION, OWN = b"\x02", b"\x03"
"""Sealed with a public key, and sealed by the holder of a private key for itself."""
HEAD_BYTES = 9
"""The version, and 8 bytes that identify the public key it is sealed for: 12 characters of base64 without padding."""
KEY_BYTES, TAG_BYTES = 32, 16
_NONCE = b"\x00" * 12
"""Every message has a key of its own, so a fixed nonce is never used twice under one key."""


class SealError(Exception):
    """Sealed data cannot be opened: another key, another context, or damage."""


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
    """Make a borrower's key pair, with its private half wrapped for the notifier."""
    private, public = new_pair()
    return BorrowerKey(public, seal(private, notifier_public, f"{context}/key"))


def seal(plain: bytes, public: bytes, context: str) -> bytes:
    """Seal for the holder of the private half; opening needs the same `context`."""
    ephemeral = X25519PrivateKey.generate()
    mine = ephemeral.public_key().public_bytes_raw()
    key = _derive(ephemeral.exchange(X25519PublicKey.from_public_bytes(public)), mine, public)
    return head_of(public) + mine + AESGCM(key).encrypt(_NONCE, plain, context.encode())


class Holder:
    """A private key that opens many things: it is loaded once, and only for data sealed with its public half."""

    __slots__ = ("_pair", "_private", "own_head")

    def __init__(self, private: bytes) -> None:
        if len(private) != KEY_BYTES:
            raise ValueError("not a private key")
        self._private = private
        self._pair: _Pair | None = None
        self.own_head = OWN + hashlib.sha256(b"dunwell own key" + private).digest()[: HEAD_BYTES - 1]
        """The first bytes of everything its holder has sealed for itself."""

    @property
    def public(self) -> bytes:
        """Return the public half."""
        return self._loaded().public

    @property
    def head(self) -> bytes:
        """Return the first bytes of everything sealed with the public half."""
        return self._loaded().head

    def keep(self, plain: bytes, context: str) -> bytes:
        """Seal for the holder itself."""
        salt = os.urandom(KEY_BYTES)
        return self.own_head + salt + AESGCM(self._own(salt)).encrypt(_NONCE, plain, context.encode())

    def unseal(self, sealed: bytes, context: str) -> bytes:
        """Open what was sealed for this key in this context; SealError when it was not, or is damaged."""
        head, mine, rest = sealed[:HEAD_BYTES], sealed[HEAD_BYTES : HEAD_BYTES + KEY_BYTES], sealed[HEAD_BYTES + KEY_BYTES :]
        if sealed[:1] not in (VERSION, OWN) or len(rest) < TAG_BYTES:
            raise SealError("not sealed by this version")
        if head != (self.own_head if sealed[:1] == OWN else self.head):
            raise SealError("sealed for another key")
        try:
            key = self._own(mine) if sealed[:1] == OWN else self._loaded().shared(mine)
            return AESGCM(key).decrypt(_NONCE, rest, context.encode())
        except (InvalidTag, ValueError):
            raise SealError("another key or another context") from None

    def _own(self, salt: bytes) -> bytes:
        """Return the key for one sealed thing: HKDF-Expand of RFC 5869, whose first and only block is one HMAC."""
        return hmac.digest(self._private, b"dunwell own 1" + salt + b"\x01", "sha256")

    def _loaded(self) -> _Pair:
        if self._pair is None:
            self._pair = _Pair(self._private)
        return self._pair


class _Pair:
    """A private key with its public half: loading it costs as much as a key exchange."""

    __slots__ = ("_key", "head", "public")

    def __init__(self, private: bytes) -> None:
        self._key = X25519PrivateKey.from_private_bytes(private)
        self.public = self._key.public_key().public_bytes_raw()
        self.head = head_of(self.public)

    def shared(self, ephemeral: bytes) -> bytes:
        return _derive(self._key.exchange(X25519PublicKey.from_public_bytes(ephemeral)), ephemeral, self.public)


def unseal(sealed: bytes, private: bytes, context: str) -> bytes:
    """Open one thing sealed for this private key in this context."""
    return Holder(private).unseal(sealed, context)


def head_of(public: bytes) -> bytes:
    """Return the first bytes of everything sealed for this public key."""
    return VERSION + hashlib.sha256(b"dunwell key" + public).digest()[: HEAD_BYTES - 1]


@dataclass(frozen=True, slots=True)
class Ring:
    """The notifier's private keys, newest first: the newest seals, any of them opens."""

    privates: tuple[bytes, ...] = field(repr=False)
    public: bytes = field(init=False)
    heads: tuple[bytes, bytes] = field(init=False)
    """The first bytes of everything sealed for the newest key: with its public half, and by its holder."""
    _newest: Holder = field(init=False, repr=False, compare=False)
    _holders: Mapping[bytes, Holder] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        holders = [Holder(private) for private in self.privates]
        object.__setattr__(self, "public", holders[0].public)
        object.__setattr__(self, "heads", (holders[0].head, holders[0].own_head))
        object.__setattr__(self, "_newest", holders[0])
        object.__setattr__(self, "_holders", {head: holder for holder in holders for head in (holder.head, holder.own_head)})

    def seal(self, plain: bytes, context: str) -> bytes:
        """Seal with the public half of the newest key."""
        return seal(plain, self.public, context)

    def keep(self, plain: bytes, context: str) -> bytes:
        """Seal for the ring itself, with its newest key."""
        return self._newest.keep(plain, context)

    def unseal(self, sealed: bytes, context: str) -> bytes:
        """Open with the key it was sealed for; SealError when that is not in the ring."""
        holder = self._holders.get(sealed[:HEAD_BYTES])
        if holder is None:
            raise SealError("sealed for a key that is not in the ring")
        return holder.unseal(sealed, context)

    def holder(self, wrapped: str, context: str) -> Holder:
        """Unwrap a borrower's key, ready to open what is sealed for it; ValueError where there is none inside."""
        return Holder(self.unseal(from_text(wrapped), f"{context}/key"))


def digest(key: bytes, *parts: str) -> bytes:
    """Return a keyed hash: equal for equal parts, meaningless without the key."""
    return hmac.digest(key, "\x1f".join(parts).encode(), hashlib.sha256)


def as_text(sealed: bytes) -> str:
    """Return sealed bytes as text for JSON."""
    return base64.b64encode(sealed).decode()


def from_text(text: str) -> bytes:
    """Return sealed bytes from their text in JSON."""
    return base64.b64decode(text)


def random_key() -> bytes:
    """Return 32 random bytes."""
    return os.urandom(32)


def _derive(shared: bytes, ephemeral: bytes, public: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"dunwell seal 1" + ephemeral + public).derive(shared)
