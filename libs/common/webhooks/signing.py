"""The signature of a webhook call, by the Standard Webhooks specification."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

PREFIX = "whsec_"
KEY_BYTES = range(24, 65)


class SecretError(ValueError):
    """Not a valid secret."""


def key_of(secret: str) -> bytes:
    """Return the key that a secret encodes."""
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise SecretError("a secret is base64") from None


def signature(secret: str, about: str, at: int, body: bytes) -> str:
    """Return the signature of a body under an id and a moment (seconds since 1970)."""
    return f"v1,{base64.b64encode(hmac.digest(key_of(secret), f'{about}.{at}.'.encode() + body, hashlib.sha256)).decode()}"


def signed(secret: str, about: str, at: int, body: bytes) -> dict[str, str]:
    """Return the headers of a call with this body."""
    return {"webhook-id": about, "webhook-timestamp": str(at), "webhook-signature": signature(secret, about, at, body)}
