"""A fake of Tencent SMS: it verifies signatures from what arrived, not by rebuilding the request."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlsplit

import msgspec

from services.notifier.domain.receipts import Standing
from services.notifier.providers.fake.speaker import Speaker, Taken, as_json
from services.notifier.providers.mainland import HERE
from services.notifier.providers.tencent_sms import CODES
from services.notifier.providers.wire import Account, Answer, HttpCall, json_object

OF_ALL = ("AuthFailure", "RequestLimitExceeded", "InternalError.RequestTimeException", "UnauthorizedOperation")
"""Codes about the whole request; all others are about the number."""


def take(call: HttpCall, account: Account, ref: str) -> Taken | Answer:
    """Take a message to one number, from an account with a valid signature."""
    if not _is_signed(call, account):
        return _error("AuthFailure.SignatureFailure")
    if call.headers.get("x-tc-action") != "SendSms" or call.headers.get("x-tc-version") != "2021-01-11":
        return _error("UnsupportedOperation.UnsupportedRegion")
    said = json_object(call.body)
    numbers = said.get("PhoneNumberSet")
    if not isinstance(numbers, list) or len(numbers) != 1 or not str(numbers[0]).startswith("+"):
        return _error("InvalidParameterValue.IncorrectPhoneNumber")
    if said.get("SmsSdkAppId") != account.settings["sdk_app_id"] or not said.get("TemplateId"):
        return _error("InvalidParameterValue.SdkAppIdNotExist")
    body = "\n".join(said.get("TemplateParamSet", ()))
    return Taken(f"2640:{ref}", numbers[0], body, said["TemplateId"], said.get("SessionContext"), account.callback)


def accept(taken: Taken) -> Answer:
    """Answer for a message that was taken."""
    return _said(taken, "Ok", taken.ref)


def refuse(taken: Taken, code: str) -> Answer:
    """Answer with a code for the number or for the request, or a bare status if the table has no other."""
    if code.startswith("http "):
        return as_json(int(code[5:].replace("xx", "00")), {})
    return _error(code) if code.startswith(OF_ALL) else _said(taken, code, "")


def report(taken: Taken, standing: Standing, account: Account, now: datetime) -> HttpCall:
    """Return a batch with a single report."""
    arrived = standing is Standing.DELIVERED
    said = {
        "user_receive_time": now.astimezone(HERE).strftime("%Y-%m-%d %H:%M:%S"), "nationcode": taken.to[1:-10], "mobile": taken.to[-10:],
        "report_status": "SUCCESS" if arrived else "FAIL", "errmsg": "DELIVRD" if arrived else "UNDELIV", "description": "",
        "sid": taken.ref,
    }  # fmt: skip
    return HttpCall(taken.callback or account.callback or "", {"content-type": "application/json"}, msgspec.json.encode([said]))


def search(call: HttpCall, account: Account, kept: Sequence[Taken]) -> Answer | None:
    """Return the reports on messages to a number; one without a report is not listed."""
    if call.headers.get("x-tc-action") != "PullSmsSendStatusByPhoneNumber":
        return None
    if not _is_signed(call, account):
        return _error("AuthFailure.SignatureFailure")
    said = json_object(call.body)
    return as_json(200, {"Response": {"PullSmsSendStatusSet": [
        {
            "PhoneNumber": one.to, "SerialNo": one.ref, "SessionContext": one.reference,
            "ReportStatus": "SUCCESS" if one.standing is Standing.DELIVERED else "FAIL",
            "Description": "DELIVRD" if one.standing is Standing.DELIVERED else "UNDELIV", "UserReceiveTime": int(one.at.timestamp()),
        }
        for one in kept
        if one.to == said["PhoneNumber"] and one.standing in {Standing.DELIVERED, Standing.FAILED} and one.at
        and said["BeginTime"] <= one.at.timestamp() <= said["EndTime"]
    ][: said["Limit"]], "RequestId": "r"}})  # fmt: skip


def _said(taken: Taken, code: str, ref: str) -> Answer:
    one = {
        "SerialNo": ref, "PhoneNumber": taken.to, "Fee": int(code == "Ok"), "SessionContext": taken.reference, "Code": code,
        "Message": "", "IsoCode": "CN",
    }  # fmt: skip
    return as_json(200, {"Response": {"SendStatusSet": [one], "RequestId": "r"}})


def _error(code: str) -> Answer:
    return as_json(200, {"Response": {"Error": {"Code": code, "Message": "refused"}, "RequestId": "r"}})


def _is_signed(call: HttpCall, account: Account) -> bool:
    """Return whether the holder of the key signed the body, its type and the host."""
    method, _, parts = call.headers.get("authorization", "").partition(" ")
    said = dict(part.strip().partition("=")[::2] for part in parts.split(","))
    holder, _, scope = said.get("Credential", "").partition("/")
    day, _, service = scope.partition("/")
    if method != "TC3-HMAC-SHA256" or holder != account.credentials["secret_id"] or said.get("SignedHeaders") != "content-type;host":
        return False
    whole = [
        "POST", urlsplit(call.url).path, "", f"content-type:{call.headers.get('content-type')}", f"host:{call.headers.get('host')}", "",
        "content-type;host", hashlib.sha256(call.body).hexdigest(),
    ]  # fmt: skip
    source = [method, call.headers.get("x-tc-timestamp", ""), scope, hashlib.sha256("\n".join(whole).encode()).hexdigest()]
    of_day = hmac.new(f"TC3{account.credentials['secret_key']}".encode(), day.encode(), hashlib.sha256).digest()
    of_service = hmac.new(of_day, service.partition("/")[0].encode(), hashlib.sha256).digest()
    key = hmac.new(of_service, b"tc3_request", hashlib.sha256).digest()
    mac = hmac.new(key, "\n".join(source).encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(mac, said.get("Signature", ""))


SPEAKER = Speaker(take=take, accept=accept, refuse=refuse, codes=CODES, report=report, search=search)
