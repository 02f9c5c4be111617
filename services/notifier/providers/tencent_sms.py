"""Tencent SMS (2021-01-11): approved templates only. Every answer is HTTP 200, with a code per number or one for all.

Our id is sent as `SessionContext`, which the answer returns; its reports have only the serial number.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

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
    at_epoch,
    e164,
    json_object,
    json_objects,
    still_wanted,
    text,
)

CODES = Codes.load("tencent_sms")
BASE = "https://sms.tencentcloudapi.com"
ALGORITHM = "TC3-HMAC-SHA256"
VERSION = "2021-01-11"
SERVICE = "sms"
PAGE = 100
STANDINGS = MappingProxyType({"SUCCESS": Standing.DELIVERED, "FAIL": Standing.FAILED})
WAITS = MappingProxyType(
    {
        "LimitExceeded.PhoneNumberThirtySecondLimit": "30",
        "LimitExceeded.PhoneNumberOneHourLimit": "3600",
        "LimitExceeded.PhoneNumberDailyLimit": "86400",
        "LimitExceeded.PhoneNumberSameContentDailyLimit": "86400",
    }
)
"""After how many seconds a limit on one number has ended at the latest."""


def request(message: OutgoingMessage, account: Account, now: datetime) -> HttpCall:
    """Return the call that sends an approved text to one number; the API cannot set an expiry."""
    still_wanted(message, now)
    found = approved.fitting(message, account, approved.Placed)
    body: dict[str, Any] = {
        "PhoneNumberSet": [e164(message.to)],
        "SmsSdkAppId": account.settings["sdk_app_id"],
        "TemplateId": found.code,
        "TemplateParamSet": [approved.filled(message.making, wanted) for wanted in found.params],
        "SessionContext": message.id,
    }
    for name, setting in (("SignName", "sign_name"), ("SenderId", "sender_id")):
        if setting in account.settings:
            body[name] = account.settings[setting]
    return signed(account, now, action="SendSms", body=msgspec.json.encode(body))


def signed(account: Account, now: datetime, *, action: str, body: bytes) -> HttpCall:
    """Return a call with a signature valid for five minutes."""
    base = urlsplit(account.base_url or BASE)
    path, at = f"{base.path}/", int(now.timestamp())
    headers = {"content-type": "application/json", "host": base.netloc}
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    canonical = f"POST\n{path}\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    scope = f"{now.astimezone(UTC):%Y-%m-%d}/{SERVICE}/tc3_request"
    to_sign = f"{ALGORITHM}\n{at}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"TC3{account.credentials['secret_key']}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    mac = hmac.digest(key, to_sign.encode(), hashlib.sha256).hex()
    headers |= {
        "authorization": f"{ALGORITHM} Credential={account.credentials['secret_id']}/{scope}, SignedHeaders={names}, Signature={mac}",
        "x-tc-action": action,
        "x-tc-version": VERSION,
        "x-tc-timestamp": str(at),
        "x-tc-region": account.settings["region"],
    }
    if "token" in account.credentials:
        headers["x-tc-token"] = account.credentials["token"]
    return HttpCall(f"{base.scheme}://{base.netloc}{path}", headers, body)


def read(answer: Answer) -> Result:
    """Return what is said about the one number, or about the whole request."""
    said = json_object(answer.body).get("Response")
    response: dict[str, Any] = said if isinstance(said, dict) else {}
    error, numbers = response.get("Error"), response.get("SendStatusSet")
    if isinstance(error, dict):
        return _refusal(answer, text(error.get("Code")))
    if answer.status != 200:
        return _refusal(answer, None)
    if not isinstance(numbers, list) or len(numbers) != 1 or not isinstance(numbers[0], dict):
        return Unknown("answer_unreadable")
    code, ref = text(numbers[0].get("Code")), text(numbers[0].get("SerialNo"))
    if code == "Ok":
        return Accepted(ref, parts=(ref,)) if ref else Unknown("answer_unreadable")
    return _refusal(answer, code)


def _refusal(answer: Answer, code: str | None) -> Result:
    return CODES.result(answer.status, code, retry_after=answer.headers.get("retry-after") or WAITS.get(code or ""))


def search(question: Question, account: Account, now: datetime) -> HttpCall:
    """Return the call that lists what the carriers reported for a number."""
    body = {
        "BeginTime": int(question.since.timestamp()), "EndTime": int(now.timestamp()), "Offset": 0, "Limit": PAGE,
        "PhoneNumber": e164(question.to), "SmsSdkAppId": account.settings["sdk_app_id"],
    }  # fmt: skip
    return signed(account, now, action="PullSmsSendStatusByPhoneNumber", body=msgspec.json.encode(body))


def searched(answer: Answer, question: Question, account: Account) -> Search | None:  # noqa: ARG001  # every kind's shape
    """Return the reports with our id, which are returned only if Tencent enabled that for the app; what has no report is not listed."""
    said = json_object(answer.body).get("Response")
    reports = said.get("PullSmsSendStatusSet") if isinstance(said, dict) else None
    if not isinstance(reports, list):
        return None
    mine = [one for one in reports if isinstance(one, dict) and one.get("SessionContext") == question.message_id]
    return Search(tuple(_pulled(one) for one in mine if one.get("ReportStatus") in STANDINGS))


def _pulled(said: dict[str, Any]) -> Receipt:
    standing, code = STANDINGS[said["ReportStatus"]], text(said.get("Description"))
    failed = standing is Standing.FAILED
    return Receipt(
        standing, message_id=text(said.get("SessionContext")), provider_ref=text(said.get("SerialNo")),
        at=at_epoch(said.get("UserReceiveTime")), code=code or "FAIL" if failed else None, fault=CODES.fault(code) if failed else "none",
    )  # fmt: skip


def receipts(callback: Callback, account: Account, now: datetime) -> Sequence[Receipt] | Denied:  # noqa: ARG001  # every kind's shape
    """Return what a batch of reports says; it is not signed, so the secret in its URL has to do."""
    reports = [(one, STANDINGS.get(str(one.get("report_status")))) for one in json_objects(callback.body)]
    return [_receipt(one, standing) for one, standing in reports if standing is not None]


def _receipt(said: dict[str, Any], standing: Standing) -> Receipt:
    code = text(said.get("errmsg"))
    failed = standing is Standing.FAILED
    return Receipt(
        standing, provider_ref=text(said.get("sid")), address=_number(said), at=mainland.moment(said.get("user_receive_time")),
        code=code or "FAIL" if failed else None, fault=CODES.fault(code) if failed else "none",
    )  # fmt: skip


def inbound(callback: Callback, account: Account, now: datetime) -> Sequence[Inbound] | Denied:  # noqa: ARG001  # every kind's shape
    """Return what people wrote back; replies have no number of their own and are identified by their whole content."""
    return [_inbound(one, number) for one in json_objects(callback.body) if (number := _number(one)) and "text" in one]


def _inbound(said: dict[str, Any], number: str) -> Inbound:
    ref = hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()
    return Inbound(ref, "sms", number, str(said["text"]), at=at_epoch(said.get("time")), signed=False)


def _number(said: dict[str, Any]) -> str | None:
    country, number = text(said.get("nationcode")), text(said.get("mobile"))
    return f"+{country.lstrip('+')}{number}" if country and number else None


def check(account: Account) -> None:
    """Refuse an account whose approved texts cannot be used."""
    approved.checked(account, approved.Placed, lambda one: one.params)


ADAPTER = Adapter(
    kind="tencent_sms", channels=("sms",), request=request, read=read, receipts=receipts, inbound=inbound, check=check,
    look_up=LookUp(search, searched),
    heard=MappingProxyType({"result": 0, "errmsg": "OK"}), taken=(b'{"result":0,"errmsg":"OK"}', "application/json"),
    credentials=("secret_id", "secret_key"), settings=("sdk_app_id", "region", approved.SETTING),
    optional=("token", "sign_name", "sender_id"), secrets=("token",),
)  # fmt: skip
