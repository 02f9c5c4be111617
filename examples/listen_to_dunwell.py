"""A small wallet that listens to Dunwell without Kafka; it needs Python and httpx.

    python examples/listen_to_dunwell.py --book wallet.db --port 9000

Webhooks bring each event within a second, the feed brings what was missed: after a downtime, or when an event arrives that is not the
next one. Every event carries its place in the feed (`sequence`), which counts without gaps; the place and the event's effect are
written in one transaction, so that a repeat changes nothing and nothing is missed. This wallet keeps what each loan owes.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import os
import sqlite3
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

TOPIC = "overdue-facts"
CLOCKS_APART_S = 300
"""A call that is older, or from the future, is taken for a replay."""


class Book:
    """What the wallet knows: its place in the feed, and the overdue sum of every loan."""

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.executescript(
            "create table if not exists place (topic text primary key, sequence text not null);"
            "create table if not exists debts (loan_id text primary key, overdue integer not null);"
            "create table if not exists taken (number integer primary key autoincrement, sequence text not null, loan_id text not null);"
        )

    @property
    def place(self) -> str | None:
        """Return the sequence of the last event processed."""
        row = self._db.execute("select sequence from place where topic = ?", (TOPIC,)).fetchone()
        return row[0] if row else None

    def is_next(self, event: Mapping[str, Any]) -> bool:
        """Tell whether nothing is missing between the last event processed and this one."""
        epoch, _, number = (self.place or "-0").rpartition("-")
        theirs, _, new = event["sequence"].rpartition("-")
        return theirs == epoch and int(new) == int(number) + 1

    def is_known(self, event: Mapping[str, Any]) -> bool:
        """Tell whether it has been processed before."""
        return self.place is not None and event["sequence"] <= self.place

    def take(self, event: Mapping[str, Any]) -> None:
        """Write an event's effect, and its place."""
        data = event.get("data") or {}
        with self._db:  # one transaction
            self._db.execute("insert or replace into place values (?, ?)", (TOPIC, event["sequence"]))
            self._db.execute("insert into taken (sequence, loan_id) values (?, ?)", (event["sequence"], event["subject"]))
            if "overdue" in data:
                self._db.execute("insert or replace into debts values (?, ?)", (data["loan_id"], data["overdue"]["total"]))
        print(event["sequence"], event["type"], event["subject"], flush=True)

    def forget_place(self, oldest: str) -> None:
        """Start over at the oldest kept event: the wallet was away for longer than a week."""
        with self._db:
            self._db.execute("insert or replace into place values (?, ?)", (TOPIC, oldest))


@dataclass
class Wallet:
    """Processes events one after the other, however they arrive."""

    book: Book
    client: httpx.Client
    secret: str
    lock: threading.Lock

    def catch_up(self) -> None:
        """Read the feed from the last place to its end."""
        while True:
            after = self.book.place
            answer = self.client.get(f"/v1/feed/{TOPIC}", params={"limit": 500} | ({"after": after} if after else {}))
            if answer.status_code == 410:
                print("some events are no longer kept: compare with GET /v1/overdue-report", flush=True)
                self.book.forget_place(answer.json()["oldest"])
                continue
            answer.raise_for_status()
            events = answer.json()["items"]
            for event in events:
                self.book.take(event)
            if not events:
                return

    def hear(self, headers: Mapping[str, str], body: bytes) -> None:
        """Process a call; ValueError where it is not from Dunwell."""
        self._believe(headers, body)
        said = json.loads(body)
        with self.lock:
            for event in said if isinstance(said, list) else [said]:
                if self.book.is_known(event):
                    continue
                if self.book.is_next(event):
                    self.book.take(event)
                else:
                    self.catch_up()

    def _believe(self, headers: Mapping[str, str], body: bytes) -> None:
        """Check the signature as https://www.standardwebhooks.com specifies it."""
        about, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        if not at.isdecimal() or abs(time.time() - int(at)) > CLOCKS_APART_S:
            raise ValueError("its timestamp is too far off")
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        right = base64.b64encode(hmac.digest(key, f"{about}.{at}.".encode() + body, hashlib.sha256)).decode()
        given = [one.partition(",") for one in headers.get("webhook-signature", "").split(" ")]
        if not any(version == "v1" and hmac.compare_digest(signature, right) for version, _, signature in given):
            raise ValueError("the signature is not Dunwell's")


def server_of(wallet: Wallet, port: int) -> ThreadingHTTPServer:
    """Return the server that Dunwell calls."""

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            try:
                wallet.hear({name.lower(): value for name, value in self.headers.items()}, body)
            except ValueError:
                self.send_response(401)
            except httpx.HTTPError:
                self.send_response(503)  # Dunwell calls again
            else:
                self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return ThreadingHTTPServer(("127.0.0.1", port), Door)


def main() -> None:
    """Catch up, then listen until Ctrl-C."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--book", default="wallet.db", help="the file that stores the wallet's state")
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--url", default="http://127.0.0.1:8000/ingest", help="the service to listen to")
    said = parser.parse_args()
    key, secret = os.environ.get("DUNWELL_KEY", "dunwell-dev"), os.environ["DUNWELL_WEBHOOK_SECRET"]
    client = httpx.Client(base_url=said.url, headers={"Authorization": f"Bearer {key}"}, timeout=30)
    wallet = Wallet(Book(said.book), client, secret, threading.Lock())
    with server_of(wallet, said.port) as server, wallet.client:
        with wallet.lock:
            wallet.catch_up()
        print("listening", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
