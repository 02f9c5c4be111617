"""Aliyun SMS (Dysmsapi 2017-05-25): approved templates only. Our id is sent as `OutId`, which its reports return.

Every answer about the message itself is HTTP 200 with a code. One number per call, so that a `BizId` is for one phone.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from services.notifier.domain.asking import Question, Search
from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.receipts import Receipt, Standing
from services.notifier.domain.replies import Inbound
from services.notifier.domain.results import Accepted, Result, Unknown
from services.notifier.providers import approved, mainland
from services.notifier.providers.codes import Codes
from services.notifier.providers.wire import (
    Account,
    Adapter,
    Answer,
    Callback,
    Denied,
    HttpCall,
    LookUp,
    e164,
    json_object,
    json_objects,
    still_wanted,
    text,
)

CODES = Codes.load("aliyun_sms")
BASE = "https://dysmsapi.aliyuncs.com"
ALGORITHM = "ACS3-HMAC-SHA256"
VERSION = "2017-05-25"
PAGE = 50
SENT = MappingProxyType({"1": Standing.ACCEPTED, "2": Standing.FAILED, "3": Standing.DELIVERED})
"""What a record of a message can say: no receipt yet, failed, arrived."""
WAITS = MappingProxyType({"天级": "86400", "小时级": "3600", "分钟级": "60"})
"""Which of a number's limits a refusal names in its text, and after how many seconds that limit ends at the latest."""


def request(message: OutgoingMessage, account: Account, now: datetime) -> HttpCall:
    """Return the call that sends an approved text to one number; the API cannot set an expiry."""
    still_wanted(message, now)
    found = approved.fitting(message, account, approved.Named)
    filled = {name: approved.filled(message.making, wanted) for name, wanted in found.params.items()}
    query = {
        "PhoneNumbers": e164(message.to)[1:],
        "SignName": account.settings["sign_name"],
        "TemplateCode": found.code,
        "TemplateParam": msgspec.json.encode(filled).decode(),
        "OutId": message.id,
    }
    return signed(account, now, action="SendSms", query=query, nonce=message.id)


def signed(account: Account, now: datetime, *, action: str, query: dict[str, str], nonce: str) -> HttpCall:
    """Return a signed call without a body; a used nonce is refused, so the same bytes have no effect twice."""
    base = urlsplit(account.base_url or BASE)
    path = f"{base.path}/"
    listed = "&".join(f"{quote(name, safe='~')}={quote(query[name], safe='~')}" for name in sorted(query))
    empty = hashlib.sha256(b"").hexdigest()
    headers = {
        "host": base.netloc,
        "x-acs-action": action,
        "x-acs-version": VERSION,
        "x-acs-date": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "x-acs-signature-nonce": nonce,
        "x-acs-content-sha256": empty,
    }
    if "security_token" in account.credentials:
        headers["x-acs-security-token"] = account.credentials["security_token"]
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in sorted(headers))
    canonical = f"POST\n{path}\n{listed}\n{lines}\n{names}\n{empty}"
    to_sign = f"{ALGORITHM}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    mac = hmac.digest(account.credentials["access_key_secret"].encode(), to_sign.encode(), hashlib.sha256).hex()
    headers["authorization"] = f"{ALGORITHM} Credential={account.credentials['access_key_id']},SignedHeaders={names},Signature={mac}"
    headers["accept"] = "application/json"
    return HttpCall(f"{base.scheme}://{base.netloc}{path}?{listed}", headers, b"")


def read(answer: Answer) -> Result:
    """Return what an answer says: a message with the id its receipt will have, or a code, whatever the HTTP status."""
    said = json_object(answer.body)
    code = text(said.get("Code"))
    if answer.status == 200 and code == "OK":
        ref = text(said.get("BizId"))
        return Accepted(ref) if ref else Unknown("answer_unreadable")
    waits = (seconds for word, seconds in WAITS.items() if word in str(said.get("Message")))
    return CODES.result(answer.status, code, retry_after=answer.headers.get("retry-after") or next(waits, None))


def search(question: Question, account: Account, now: datetime) -> HttpCall:
    """Return the call that lists what was sent to a number on one day in Beijing; if two days are possible, they take turns."""
    days = sorted({f"{at.astimezone(mainland.HERE):%Y%m%d}" for at in (question.began_at, question.ended_at)})
    number = e164(question.to)[1:]
    query = {
        "PhoneNumber": mainland.bare(number), "SendDate": days[question.number % len(days)], "PageSize": str(PAGE), "CurrentPage": "1",
    }  # fmt: skip
    return signed(account, now, action="QuerySendDetails", query=query, nonce=f"{question.message_id}-{question.number}")


def searched(answer: Answer, question: Question, account: Account) -> Search | None:  # noqa: ARG001  # every kind's shape
    """Return the records with our id; their absence proves nothing, since it is not documented how soon they appear."""
    said = json_object(answer.body)
    details = said.get("SmsSendDetailDTOs")
    records = details.get("SmsSendDetailDTO") if isinstance(details, dict) else None
    if said.get("Code") != "OK" or not isinstance(records, list):
        return None
    return Search(tuple(_recorded(one) for one in records if isinstance(one, dict) and one.get("OutId") == question.message_id))


def _recorded(said: dict[str, Any]) -> Receipt:
    standing, code = SENT.get(str(said.get("SendStatus")), Standing.ACCEPTED), text(said.get("ErrCode"))
    failed = standing is Standing.FAILED
    return Receipt(
        standing, message_id=text(said.get("OutId")), code=code or "failed" if failed else None,
        fault=CODES.fault(code) if failed else "none", at=mainland.moment(said.get("ReceiveDate")),
    )  # fmt: skip


def receipts(callback: Callback, account: Account, now: datetime) -> Sequence[Receipt] | Denied:  # noqa: ARG001  # every kind's shape
    """Return what a batch of reports says; it is not signed, so the secret in its URL has to do."""
    return [_receipt(one) for one in json_objects(callback.body) if isinstance(one.get("success"), bool)]


def _receipt(said: dict[str, Any]) -> Receipt:
    number, code = text(said.get("phone_number")), text(said.get("err_code"))
    standing = Standing.DELIVERED if said["success"] else Standing.FAILED
    failed = standing is Standing.FAILED
    return Receipt(
        standing, message_id=text(said.get("out_id")), provider_ref=text(said.get("biz_id")),
        address=None if number is None or mainland.is_bare(number) else number, at=mainland.moment(said.get("report_time")),
        code=code or "failed" if failed else None, fault=CODES.fault(code) if failed else "none",
    )  # fmt: skip


def inbound(callback: Callback, account: Account, now: datetime) -> Sequence[Inbound] | Denied:  # noqa: ARG001  # every kind's shape
    """Return what people wrote back; a reply without a number of its own is identified by its whole content."""
    return [_inbound(one, str(one["phone_number"])) for one in json_objects(callback.body) if text(one.get("phone_number"))]


def _inbound(said: dict[str, Any], number: str) -> Inbound:
    ref = text(said.get("sequence_id")) or hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()
    at = mainland.moment(said.get("send_time"))
    return Inbound(ref, "sms", mainland.sender(number), str(said.get("content", "")), at=at, signed=False)


def check(account: Account) -> None:
    """Refuse an account whose approved texts cannot be used."""
    approved.checked(account, approved.Named, lambda one: one.params.values())


ADAPTER = Adapter(
    kind="aliyun_sms", channels=("sms",), request=request, read=read, receipts=receipts, inbound=inbound, check=check,
    look_up=LookUp(search, searched),
    heard=MappingProxyType({"code": 0, "msg": "OK"}), taken=(b'{"code":0,"msg":"OK"}', "application/json"),
    credentials=("access_key_id", "access_key_secret"), settings=("sign_name", approved.SETTING), optional=("security_token",),
    secrets=("security_token",),
)  # fmt: skip
