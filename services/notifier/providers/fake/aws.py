"""Fakes of Amazon SES and AWS End User Messaging SMS."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit

from services.notifier.providers import aws, aws_ses, aws_sms
from services.notifier.providers.fake.speaker import Speaker, Taken, as_json
from services.notifier.providers.wire import Account, Answer, HttpCall, json_object

STATUSES = {
    "AccessDeniedException": 403, "InvalidSignatureException": 403, "InternalServerException": 500, "InternalFailure": 500,
    "ServiceUnavailable": 503, "TooManyRequestsException": 429,
}  # fmt: skip


def take_mail(call: HttpCall, account: Account, ref: str) -> Taken | Answer:
    """Take a mail with a valid signature."""
    if not _is_signed(call, account, "email", aws_ses.PATH):
        return _error("InvalidSignatureException")
    said = json_object(call.body)
    try:
        (to,) = said["Destination"]["ToAddresses"]
        simple = said["Content"]["Simple"]
        tags = {tag["Name"]: tag["Value"] for tag in said.get("EmailTags", ())}
        return Taken(ref, to, simple["Body"]["Text"]["Data"], simple["Subject"]["Data"], tags.get(aws_ses.OURS))
    except (KeyError, TypeError, ValueError):
        return _error("BadRequestException")


def take_text(call: HttpCall, account: Account, ref: str) -> Taken | Answer:
    """Take a text with a valid signature."""
    if not _is_signed(call, account, "sms-voice", "/") or call.headers.get("x-amz-target") != aws_sms.TARGET:
        return _error("InvalidSignatureException")
    said = json_object(call.body)
    try:
        return Taken(ref, said["DestinationPhoneNumber"], said["MessageBody"], reference=said.get("Context", {}).get(aws_sms.OURS))
    except KeyError:
        return _error("ValidationException/MISSING_PARAMETER")


def accept(taken: Taken) -> Answer:
    """Answer for a message that will be sent."""
    return as_json(200, {"MessageId": taken.ref})


def refuse(_: Taken, code: str) -> Answer:
    """Answer with an error, or a bare status if the table has no other."""
    return as_json(int(code[5:].replace("xx", "00")), {}) if code.startswith("http ") else _error(code)


def _error(code: str) -> Answer:
    name, _, reason = code.partition("/")
    said: dict[str, object] = {"message": "refused", **({"Reason": reason} if reason not in ("", "*") else {})}
    name, _, about = name.partition(" ")
    if name == "MessageRejected" and about:
        said["message"] = f"Email address is {about}. The following identities failed the check"
    elif about:
        said |= {"Reason": "FIELD_VALIDATION_FAILED", "Fields": [{"Name": about, "Message": "refused"}]}
    return as_json(STATUSES.get(name, 400), {"__type": name, **said}, **{"x-amzn-errortype": f"{name}:http://internal.amazon.com/"})


def _is_signed(call: HttpCall, account: Account, service: str, path: str) -> bool:
    """Return whether the account would have signed this call like this, at the time it states."""
    split = urlsplit(call.url)
    names = call.headers.get("authorization", "").partition("SignedHeaders=")[2].partition(",")[0].split(";")
    try:
        at = datetime.strptime(call.headers.get("x-amz-date", ""), "%Y%m%dT%H%M%S%z")
    except ValueError:
        return False
    headers = {name: call.headers.get(name, "") for name in names if name not in ("host", "x-amz-date", "x-amz-security-token")}
    base = f"{split.scheme}://{split.netloc}{split.path.removesuffix(path)}"
    here = Account(account.name, account.kind, account.credentials, account.settings, base)
    again = aws.signed(here, at, service=service, path=path, headers=headers, body=call.body)
    return again.headers["authorization"] == call.headers.get("authorization")


MAIL = Speaker(take=take_mail, accept=accept, refuse=refuse, codes=aws_ses.CODES)
TEXT = Speaker(take=take_text, accept=accept, refuse=refuse, codes=aws_sms.CODES)
