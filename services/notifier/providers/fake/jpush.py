"""A fake of JPush."""

from __future__ import annotations

from services.notifier.providers.fake.speaker import Speaker, Taken, as_json
from services.notifier.providers.jpush import CODES
from services.notifier.providers.pushes import OURS
from services.notifier.providers.wire import Account, Answer, HttpCall, basic, json_object

STATUSES = {"1004": 401, "1000": 500, "1030": 503, "2002": 429, "2003": 403, "2004": 403, "1020": 404}


def take(call: HttpCall, account: Account, ref: str) -> Taken | Answer:
    """Take a push to one device, from an app that presents its key."""
    if call.headers.get("authorization") != basic(account.credentials["app_key"], account.credentials["master_secret"]):
        return _error("1004")
    said = json_object(call.body)
    try:
        (to,) = said["audience"]["registration_id"]
        android, ios = said["notification"]["android"], said["notification"]["ios"]
        if said["platform"] != ["android", "ios"] or android["alert"] != ios["alert"]["body"]:
            return _error("1003")
        return Taken(ref, to, android["alert"], android.get("title"), android["extras"].get(OURS))
    except (KeyError, TypeError, ValueError):
        return _error("1002")


def accept(taken: Taken) -> Answer:
    """Answer for a push that was taken."""
    return as_json(200, {"sendno": "0", "msg_id": taken.ref})


def refuse(_: Taken, code: str) -> Answer:
    """Answer with an error."""
    return _error(code)


def _error(code: str) -> Answer:
    number, _, about = code.partition(" ")
    return as_json(STATUSES.get(number, 400), {"error": {"code": int(number), "message": about or "refused"}})


SPEAKER = Speaker(take=take, accept=accept, refuse=refuse, codes=CODES)
