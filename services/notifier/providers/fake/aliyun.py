"""A fake of Aliyun SMS: it verifies signatures from what arrived, not by rebuilding the request."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import msgspec

from services.notifier.domain.receipts import Standing
from services.notifier.providers.aliyun_sms import CODES
from services.notifier.providers.fake.speaker import Speaker, Taken, as_json
from services.notifier.providers.mainland import HERE
from services.notifier.providers.wire import Account, Answer, HttpCall

SIGNED = ("host", "x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce", "x-acs-version")
STATUSES = {"SignatureDoesNotMatch": 400, "Throttling.User": 400, "ServiceUnavailable": 503, "InternalError": 500}
NEEDED = ("PhoneNumbers", "SignName", "TemplateCode")


def take(call: HttpCall, account: Account, ref: str) -> Taken | Answer:
    """Take a message with a valid signature and with template values that are JSON."""
    if not _is_signed(call, account):
        return _error("SignatureDoesNotMatch")
    said = dict(parse_qsl(urlsplit(call.url).query, keep_blank_values=True))
    if call.headers.get("x-acs-action") != "SendSms" or not all(said.get(name) for name in NEEDED):
        return _error("isv.INVALID_PARAMETERS")
    try:
        filled = msgspec.json.decode(said.get("TemplateParam", "{}"), type=dict[str, str])
    except msgspec.DecodeError:
        return _error("isv.INVALID_JSON_PARAM")
    return Taken(ref, said["PhoneNumbers"], "\n".join(filled.values()), said["TemplateCode"], said.get("OutId"), account.callback)


def accept(taken: Taken) -> Answer:
    """Answer for a message that was taken."""
    return as_json(200, {"Code": "OK", "Message": "OK", "BizId": taken.ref, "RequestId": "r"})


def refuse(_: Taken, code: str) -> Answer:
    """Answer with a code, or a bare status if the table has no other."""
    return as_json(int(code[5:].replace("xx", "00")), {}) if code.startswith("http ") else _error(code)


def report(taken: Taken, standing: Standing, account: Account, now: datetime) -> HttpCall:
    """Return a batch with a single report."""
    arrived = standing is Standing.DELIVERED
    at = now.astimezone(HERE).strftime("%Y-%m-%d %H:%M:%S")
    said = {
        "phone_number": taken.to.removeprefix("86"), "send_time": at, "report_time": at, "success": arrived,
        "err_code": "DELIVERED" if arrived else "MOBILE_NOT_ON_SERVICE", "err_msg": "", "sms_size": "1", "biz_id": taken.ref,
        "out_id": taken.reference or "",
    }  # fmt: skip
    return HttpCall(taken.callback or account.callback or "", {"content-type": "application/json"}, msgspec.json.encode([said]))


def search(call: HttpCall, account: Account, kept: Sequence[Taken]) -> Answer | None:
    """Return what was sent to a number on one day in Beijing."""
    if call.headers.get("x-acs-action") != "QuerySendDetails":
        return None
    if not _is_signed(call, account):
        return _error("SignatureDoesNotMatch")
    said = dict(parse_qsl(urlsplit(call.url).query))
    numbers, day = {said["PhoneNumber"], f"86{said['PhoneNumber']}"}, said["SendDate"]
    found = [one for one in kept if one.to in numbers and one.at and f"{one.at.astimezone(HERE):%Y%m%d}" == day]
    records = [_record(one) for one in found[: int(said["PageSize"])]]
    return as_json(200, {"Code": "OK", "Message": "OK", "TotalCount": len(found), "SmsSendDetailDTOs": {"SmsSendDetailDTO": records}})


def _record(taken: Taken) -> dict[str, object]:
    status = {Standing.DELIVERED: 3, Standing.FAILED: 2}.get(taken.standing, 1)
    words = {3: "DELIVERED", 2: "MOBILE_NOT_ON_SERVICE"}
    at = taken.at.astimezone(HERE).strftime("%Y-%m-%d %H:%M:%S") if taken.at else ""
    return {
        "PhoneNum": taken.to.removeprefix("86"), "OutId": taken.reference, "SendStatus": status, "ErrCode": words.get(status, ""),
        "SendDate": at, "ReceiveDate": at if status > 1 else "", "TemplateCode": taken.subject, "Content": taken.body,
    }  # fmt: skip


def _error(code: str) -> Answer:
    return as_json(STATUSES.get(code, 200), {"Code": code, "Message": "refused", "RequestId": "r"})


def _is_signed(call: HttpCall, account: Account) -> bool:
    """Return whether the holder of the key signed the method, the URL parameters, and the required headers."""
    method, _, parts = call.headers.get("authorization", "").partition(" ")
    said = dict(part.partition("=")[::2] for part in parts.split(","))
    names = said.get("SignedHeaders", "").split(";")
    if method != "ACS3-HMAC-SHA256" or said.get("Credential") != account.credentials["access_key_id"] or not {*SIGNED} <= {*names}:
        return False
    url, body = urlsplit(call.url), hashlib.sha256(call.body).hexdigest()
    headers = "".join(f"{name}:{call.headers.get(name, '').strip()}\n" for name in names)
    query = urlencode(sorted(parse_qsl(url.query, keep_blank_values=True)), quote_via=quote, safe="~")
    whole = f"POST\n{url.path}\n{query}\n{headers}\n{';'.join(names)}\n{body}"
    source = f"{method}\n{hashlib.sha256(whole.encode()).hexdigest()}"
    mac = hmac.new(account.credentials["access_key_secret"].encode(), source.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(mac, said.get("Signature", "")) and call.headers.get("x-acs-content-sha256") == body


SPEAKER = Speaker(take=take, accept=accept, refuse=refuse, codes=CODES, report=report, search=search)
