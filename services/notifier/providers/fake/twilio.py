"""A fake of Twilio."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from email.utils import format_datetime
from urllib.parse import parse_qsl, urlencode, urlsplit

from services.notifier.domain.receipts import Standing
from services.notifier.providers.fake.speaker import Speaker, Taken, as_json
from services.notifier.providers.twilio import CODES, signature
from services.notifier.providers.wire import Account, Answer, HttpCall, basic, form

WORDS = {Standing.ACCEPTED: "queued", Standing.SENT: "sent", Standing.FAILED: "undelivered", Standing.DELIVERED: "delivered"}
STATUSES = {"20003": 401, "20429": 429, "20404": 404, "20500": 500, "20503": 503}


def take(call: HttpCall, account: Account, ref: str) -> Taken | Answer:
    """Take a message from an account that presents its token."""
    if (refused := _refused(call, account)) is not None:
        return refused
    said = form(call.body)
    if "Body" not in said or not ("From" in said or "MessagingServiceSid" in said):
        return _error("21602" if "Body" not in said else "21603")
    if not said.get("To", "").startswith("+"):
        return _error("21211")
    return Taken(ref=f"SM{ref}", to=said["To"], body=said["Body"], callback=said.get("StatusCallback"), subject=said.get("From"))


def accept(taken: Taken) -> Answer:
    """Answer for a message that was created."""
    return as_json(201, {"sid": taken.ref, "status": "queued", "to": taken.to, "body": taken.body, "error_code": None})


def refuse(_: Taken, code: str) -> Answer:
    """Answer with a code."""
    return _error(code)


def report(taken: Taken, standing: Standing, account: Account, now: datetime) -> HttpCall:
    """Return the signed status callback."""
    fields = {
        "MessageSid": taken.ref, "SmsSid": taken.ref, "MessageStatus": WORDS[standing], "To": taken.to,
        "AccountSid": account.credentials["account_sid"], "RawDlrDoneDate": now.strftime("%y%m%d%H%M"),
    }  # fmt: skip
    if standing is Standing.FAILED:
        fields["ErrorCode"] = "30003"
    url, body = taken.callback or "", urlencode(fields).encode()
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "x-twilio-signature": signature(url, body, account.credentials["auth_token"]),
    }
    return HttpCall(url, headers, body)


def search(call: HttpCall, account: Account, kept: Sequence[Taken]) -> Answer | None:
    """Return a page of the messages to a number, newest first."""
    if call.method != "GET":
        return None
    asked = dict(parse_qsl(urlsplit(call.url).query))
    page = int(asked.get("PageSize", "50"))
    found = [one for one in reversed(kept) if one.to == asked.get("To")]
    return _refused(call, account) or as_json(
        200, {"messages": [_listed(one) for one in found[:page]], "next_page_uri": "/more" if len(found) > page else None}
    )


def _listed(taken: Taken) -> dict[str, object]:
    return {
        "sid": taken.ref, "to": taken.to, "from": taken.subject, "body": taken.body, "status": WORDS[taken.standing],
        "direction": "outbound-api", "date_created": format_datetime(taken.at) if taken.at else None,
        "error_code": 30003 if taken.standing is Standing.FAILED else None,
    }  # fmt: skip


def _refused(call: HttpCall, account: Account) -> Answer | None:
    sid, token = account.credentials["account_sid"], account.credentials["auth_token"]
    if call.headers.get("authorization") != basic(sid, token):
        return _error("20003")
    ours = urlsplit(call.url).path.endswith(f"/2010-04-01/Accounts/{sid}/Messages.json")
    return None if ours else _error("20404")


def _error(code: str) -> Answer:
    status = STATUSES.get(code, 400)
    return as_json(status, {"code": int(code) if code.isdecimal() else None, "message": "refused", "status": status})


SPEAKER = Speaker(take=take, accept=accept, refuse=refuse, codes=CODES, report=report, search=search)
