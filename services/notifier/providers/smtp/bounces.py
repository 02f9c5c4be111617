"""Mails that bounce (RFC 3464): which of ours each bounce is about, and what it says.

Anybody can write to the bounce address. So a bounce counts only with the mark that we put on the mail, in its return path or its id.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from types import MappingProxyType

from services.notifier.domain.receipts import Receipt, Standing
from services.notifier.providers.smtp import replies
from services.notifier.providers.smtp.replies import Reply

PLACE = "{id}"
"""Where in `bounces_to` a mail's mark goes."""
LONGEST_MARK = f"m-{'0' * 20}.{'a' * 16}"
MARK_BYTES = 10
LONGEST, LONGEST_HEAD = 262_144, 32_768
"""How many bytes of a mail, and of its headers, are read: the report precedes the returned mail.

Anybody may write there, and the library's time grows with the square of the headers.
"""
_HEAD = re.compile(rb"\r?\n\r?\n")
_MARKED = re.compile(r"(?<![a-z0-9])(m-[0-9a-z]{20})\.([a-z2-7]{16})(?![a-z0-9])", re.IGNORECASE)
_BROUGHT_TO = ("To", "Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "In-Reply-To", "References")
_STATUS = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})")
_REPLY = re.compile(r"([2-5][0-9]{2})[ -]+(.*)", re.DOTALL)
_OF_RECIPIENT = re.compile(r"(?:after|in reply to)\s+RCPT TO", re.IGNORECASE)
_STANDINGS: Mapping[str, Standing] = MappingProxyType(
    {
        "failed": Standing.FAILED,
        "delayed": Standing.ACCEPTED,
        "relayed": Standing.SENT,
        "expanded": Standing.SENT,
        "delivered": Standing.DELIVERED,
    }
)


def marked(message_id: str, key: bytes) -> str:
    """Return the id a mail carries so that its bounce can be recognised: with a mark, or without a key the bare id."""
    return f"{message_id}.{_mark(message_id, key)}" if key else message_id


def reports(raw: bytes, key: bytes) -> Sequence[Receipt]:
    """Return what a report says about one mail of ours; nothing for anything else."""
    if len(_HEAD.split(raw[: LONGEST_HEAD + 1], maxsplit=1)[0]) > LONGEST_HEAD:
        return ()
    try:
        mail = BytesParser(policy=compat32).parsebytes(raw[:LONGEST])
    except RecursionError:
        return ()
    if not key or mail.get_content_type() != "multipart/report" or str(mail.get_param("report-type")).lower() != "delivery-status":
        return ()
    about = {found for text in _written(mail) for found in _ours(text, key)}
    if len(about) != 1:
        return ()
    message_id = about.pop()
    at_recipient = _OF_RECIPIENT.search(_prose(mail)) is not None
    blocks = (block for part in _parts(mail) if part.get_content_type() == "message/delivery-status" for block in _parts(part))
    return [said for block in blocks if (said := _said(block, message_id, at_recipient=at_recipient)) is not None]


def _said(block: Message, message_id: str, *, at_recipient: bool) -> Receipt | None:
    """Return what is said about one recipient; a failure is judged like the refusal that it reports."""
    standing = _STANDINGS.get(str(block.get("Action", "")).strip().lower())
    if standing is None:
        return None
    if standing is not Standing.FAILED:
        return Receipt(standing, message_id=message_id)
    refused = replies.refusal("rcpt" if at_recipient else "end", _reply(block))
    return Receipt(standing, message_id=message_id, code=refused.code, fault=refused.fault)


def _reply(block: Message) -> Reply:
    """Return the server's own words if the report has them, else a reply equivalent to its status."""
    status = _STATUS.search(str(block.get("Status", "")))
    words = status[0] if status else "5.0.0"
    kind, _, said = str(block.get("Diagnostic-Code", "")).partition(";")
    found = _REPLY.fullmatch(" ".join(said.split())) if kind.strip().lower() == "smtp" else None
    if found is None or found[1][0] not in "45":
        return Reply(450 if words[0] == "4" else 550, words)
    told = re.sub(rf"(?<=\s){found[1]}[ -]", "", found[2])
    named = _STATUS.match(told) or words.endswith(".0.0") or words[0] != found[1][0]
    return Reply(int(found[1]), told if named else f"{words} {told}")


def _written(mail: Message) -> Iterator[str]:
    """Yield the places where a mark may be: the recipient addresses, and the id of the returned mail."""
    for name in _BROUGHT_TO:
        yield from map(str, mail.get_all(name, ()))
    for part in _parts(mail):
        match part.get_content_type():
            case "message/rfc822":
                yield from (str(one.get("Message-ID", "")) for one in _parts(part))
            case "text/rfc822-headers" | "message/rfc822-headers":
                yield _headers(part)


def _headers(part: Message) -> str:
    content = part.get_payload(decode=True)
    returned = BytesParser(policy=compat32).parsebytes(content, headersonly=True) if isinstance(content, bytes) else part
    return str(returned.get("Message-ID", ""))


def _prose(mail: Message) -> str:
    """Return the text meant for a person."""
    for part in _parts(mail):
        content = part.get_payload(decode=True) if part.get_content_type() == "text/plain" else None
        if isinstance(content, bytes):
            return " ".join(content.decode("utf-8", "replace").split())
    return ""


def _parts(mail: Message) -> list[Message]:
    payload = mail.get_payload()
    return [one for one in payload if isinstance(one, Message)] if isinstance(payload, list) else []


def _ours(text: str, key: bytes) -> Iterator[str]:
    for found in _MARKED.finditer(text):
        message_id = found[1].lower()
        if hmac.compare_digest(_mark(message_id, key), found[2].lower()):
            yield message_id


def _mark(message_id: str, key: bytes) -> str:
    return base64.b32encode(hmac.digest(key, message_id.encode(), "sha256")[:MARK_BYTES]).decode().lower()
