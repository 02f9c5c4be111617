"""A loan that fell due yesterday, and what follows: the message, the reason for it, what is next, and how a payment stops that.

    python examples/one_late_loan.py                          # beside `dunwell up`; needs nothing but Python
    python examples/one_late_loan.py --jurisdiction GB        # under the law of a real place, once a provider is routed

The built-in policy sends from 10:00 to 11:29 in the borrower's zone, so the borrower lives where it is ten o'clock now.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

PATIENCE_S = 30
EVENTS = "application/cloudevents-batch+json"


class Dunwell:
    """The three services in one process, as a wallet and its desk see them."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        self._key = {"Authorization": f"Bearer {key}"}

    def get(self, path: str) -> Any:
        """Return what a GET answers."""
        return self._call(Request(f"{self._url}{path}", headers=self._key))  # noqa: S310  # the user chooses the address

    def post(self, *events: Mapping[str, Any]) -> None:
        """Publish events as the wallet; the 202 says that they are committed."""
        body = json.dumps(events).encode()
        headers = {**self._key, "Content-Type": EVENTS}
        refused = self._call(Request(f"{self._url}/ingest/v1/events", body, headers))["rejected"]  # noqa: S310  # as above
        if refused:
            sys.exit(f"refused: {refused}")

    def wait_for(self, path: str, key: str, *wanted: str) -> list[Any]:
        """Poll a list until one of its items has one of these values, and return the list."""
        deadline = time.monotonic() + PATIENCE_S
        items = self.get(path)["items"]
        while not any(item[key] in wanted for item in items):
            if time.monotonic() > deadline:
                so_far = ", ".join(f"{item[key]} ({item['reason']})" for item in items) or "nothing"
                sys.exit(f"{PATIENCE_S} s later there is no {' or '.join(wanted)} at {path}, but {so_far}")
            time.sleep(0.2)
            items = self.get(path)["items"]
        return list(items)

    def _call(self, request: Request) -> Any:
        try:
            with urlopen(request) as answer:  # noqa: S310  # as above
                return json.load(answer)
        except HTTPError as error:
            sys.exit(f"{request.full_url} answers {error.code}: {json.load(error)['detail']}")
        except URLError as error:
            sys.exit(f"nobody answers at {self._url} ({error.reason}): is `dunwell up` running?")


def event(kind: str, whose: str, /, **data: Any) -> dict[str, Any]:
    """Return a CloudEvent from the wallet."""
    now = datetime.now(UTC).isoformat()
    return {"specversion": "1.0", "id": f"{whose}-{kind}", "source": "examples", "type": f"wallet.{kind}.v1", "time": now, "data": data}


def zone_at_ten(now: datetime) -> tuple[str, datetime]:
    """Return a zone in which it is ten o'clock, and the local time there. The names of these zones count westwards."""
    ahead = (10 - now.hour + 11) % 24 - 11
    return f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT", now + timedelta(hours=ahead)


def main() -> None:
    """Make a loan, wait for the message, show what is known about it, and pay."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--url", default="http://127.0.0.1:8000")
    asked.add_argument("--key", default="dunwell-dev")
    asked.add_argument("--name", default=f"reader-{int(time.time())}", help="name of the borrower; a new one each time")
    asked.add_argument("--jurisdiction", default="ZZ", help="ZZ is an invented country with hardly any rules")
    asked.add_argument("--channel", default="sms", choices=["sms", "email", "push", "inbox"])
    asked.add_argument("--address", default="+447700900001", help="Ofcom reserves this number for drama")
    said = asked.parse_args()
    name, loan, dunwell = said.name, f"{said.name}-loan", Dunwell(said.url, said.key)
    zone, local = zone_at_ten(datetime.now(UTC))
    due, lent = (local.date() - timedelta(days=1)).isoformat(), (local.date() - timedelta(days=40)).isoformat()
    where = {"timezone": zone, "jurisdictions": [said.jurisdiction]}
    dunwell.post(
        event("borrower.updated", name, borrower_id=name, name="A. Reader", locale="en", **where,
              addresses=[{"channel": said.channel, "address": said.address}]),
        event("loan.disbursed", name, loan_id=loan, borrower_id=name, product="cash-loan", currency="CNY", disbursed_on=lent, **where,
              schedule=[{"n": 1, "due_on": due, "principal": 12050}]),
    )  # fmt: skip
    print(f"{name} owes CNY 120.50 since {due}, and lives where it is {local:%H:%M} now ({zone})")
    begun = time.monotonic()
    case = dunwell.wait_for(f"/scheduler/v1/cases?borrower_id={name}", "state", "open")[0]["case_id"]
    told = dunwell.wait_for(f"/notifier/v1/deliveries?borrower_id={name}", "state", "sent", "delivered")[0]
    print(f"{time.monotonic() - begun:.1f} s later, by {told['channel']}:")
    for message in dunwell.get(f"/notifier/v1/sandbox/messages?borrower_id={name}")["items"]:
        print(f"  {message['body']}")
    story = dunwell.wait_for(f"/scheduler/v1/cases/{case}/timeline", "kind", "contact.sent")
    print(f"why:  {' > '.join(entry['kind'] for entry in story)}")
    print("next:", _next(dunwell, case))
    dunwell.post(
        event("repayment.received", name, loan_id=loan, repayment_id=f"{name}-1", amount=12050, paid_at=datetime.now(UTC).isoformat())
    )
    print("paid; next:", _next(dunwell, case))


def _next(dunwell: Dunwell, case: str) -> str:
    planned = dunwell.get(f"/scheduler/v1/cases/{case}/next-contact")
    return f"{planned['step']} at {planned['at']}" if planned["at"] else f"nothing, since the case is {planned['reason']}"


if __name__ == "__main__":
    main()
