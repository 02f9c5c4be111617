"""Messages of Amazon SNS over HTTPS, carrying events of other services; signed with the key of a certificate that AWS serves."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.x509 import load_pem_x509_certificate

from services.notifier.providers.wire import Account, Callback, Denied, Fetch, json_object

HASHES = {"1": SHA1, "2": SHA256}
_HOST = r"https://sns\.[a-z0-9-]{3,30}\.amazonaws\.com(\.cn)?/"
_CERTIFICATE = re.compile(_HOST + r"[A-Za-z0-9_.-]+\.pem")
_CONFIRMATION = re.compile(_HOST + r"\?[A-Za-z0-9_.:&=%-]+")
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


def event_of(callback: Callback, account: Account) -> dict[str, Any] | Denied | Fetch | None:
    """Return the event in a message of the account's topic; None if it carries none.

    A subscription to that topic is confirmed by fetching the URL it names.
    """
    said = json_object(callback.body)
    names, topic = _SIGNED.get(str(said.get("Type"))), account.settings.get("topic")
    if names is None or not topic or said.get("TopicArn") != topic:
        return Denied("topic")
    url = str(said.get("SigningCertURL"))
    if not _CERTIFICATE.fullmatch(url):
        return Denied("certificate")
    if url not in callback.fetched:
        return Fetch(url)
    if not _is_signed(said, names, callback.fetched[url]):
        return Denied("signature")
    if said["Type"] == "Notification":
        return json_object(str(said["Message"]).encode())
    confirmation = str(said["SubscribeURL"])
    if not _CONFIRMATION.fullmatch(confirmation):
        return Denied("confirmation")
    return None if confirmation in callback.fetched else Fetch(confirmation)


def _is_signed(said: dict[str, Any], names: Sequence[str], certificate: bytes) -> bool:
    signed = "".join(f"{name}\n{said[name]}\n" for name in names if said.get(name) is not None)
    method = HASHES.get(str(said.get("SignatureVersion")))
    try:
        key = load_pem_x509_certificate(certificate).public_key()
        if method is None or not isinstance(key, RSAPublicKey):
            return False
        key.verify(base64.b64decode(str(said.get("Signature")), validate=True), signed.encode(), PKCS1v15(), method())
    except (binascii.Error, ValueError, InvalidSignature):
        return False
    return True
