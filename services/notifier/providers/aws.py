"""What AWS's services share: Signature Version 4, and the names of errors."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlsplit

from services.notifier.providers.wire import Account, Answer, HttpCall, UnfitError, json_object, text

ALGORITHM = "AWS4-HMAC-SHA256"
_REGION = re.compile(r"[a-z0-9-]{4,32}")
CREDENTIALS = ("access_key_id", "secret_access_key")
UNVERIFIED = "email address is not verified"
"""What SES says, over HTTP and SMTP, when an identity must be verified first; its code is the one for bad content."""


def signed(account: Account, now: datetime, *, service: str, path: str, headers: Mapping[str, str], body: bytes) -> HttpCall:
    """Return a signed call to a service in the account's region; its path must need no escaping and have no query."""
    region = account.settings["region"]
    if not _REGION.fullmatch(region):
        raise UnfitError("no_region", "config")
    url = f"{account.base_url or f'https://{service_host(service, region)}'}{path}"
    split = urlsplit(url)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    named = {"host": split.netloc, "x-amz-date": stamp, **headers}
    if "session_token" in account.credentials:
        named["x-amz-security-token"] = account.credentials["session_token"]
    names = ";".join(sorted(named))
    lines = [f"{name}:{' '.join(named[name].split())}" for name in sorted(named)]
    canonical = "\n".join(["POST", split.path, "", *lines, "", names, hashlib.sha256(body).hexdigest()])
    scope = f"{stamp[:8]}/{region}/{signing_name(service)}/aws4_request"
    to_sign = "\n".join([ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{account.credentials['secret_access_key']}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    mac = hmac.digest(key, to_sign.encode(), hashlib.sha256).hex()
    credential = f"{account.credentials['access_key_id']}/{scope}"
    named["authorization"] = f"{ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={mac}"
    return HttpCall(url, named, body)


def service_host(service: str, region: str) -> str:
    """Return the host of a service in a region; regions in China have a domain of their own."""
    return f"{service}.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


def signing_name(service: str) -> str:
    """Return the service name to sign with, if it differs from the host's."""
    return {"email": "ses"}.get(service, service)


def error_codes(answer: Answer) -> tuple[str, ...]:
    """Return the names of an error, most specific first: with its reason, with any reason, alone."""
    said = json_object(answer.body)
    named = answer.headers.get("x-amzn-errortype") or text(said.get("__type")) or ""
    name = named.partition(":")[0].rpartition("#")[2]
    if not name:
        return ()
    reason = text(said.get("Reason"))
    return (*((f"{name}/{reason}",) if reason else ()), f"{name}/*", name)
