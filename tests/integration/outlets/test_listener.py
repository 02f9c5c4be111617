"""The example wallet, as a process of its own, against `dunwell up`: through the death of either it takes in every event once."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from standardwebhooks import webhooks

from tests.integration.outlets.wallets import SECRET
from tests.support.kafka import free_port
from tests.support.wallet import event

ROOT = Path(__file__).resolve().parents[3]
KEY = {"Authorization": "Bearer dunwell-dev"}


@contextmanager
def running(*words: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def wait(condition: Callable[[], Any], what: str, within_s: float = 60) -> Any:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            if found := condition():
                return found
        except (httpx.TransportError, sqlite3.OperationalError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come within {within_s:g} s")


@contextmanager
def platform(folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    with running("-m", "services.cli", "up", "--port", str(port), "--data", str(folder / "data")) as process:
        wait(lambda: httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200, "the platform", 90)
        yield process


@contextmanager
def listener(folder: Path, port: int, url: str) -> Iterator[subprocess.Popen[str]]:
    words = ("examples/listen_to_dunwell.py", "--book", str(folder / "wallet.db"), "--port", str(port), "--url", url)
    with running(*words, DUNWELL_WEBHOOK_SECRET=SECRET, DUNWELL_KEY="dunwell-dev") as process:
        wait(lambda: httpx.get(f"http://127.0.0.1:{port}/").status_code == 501, "the listener")
        yield process


def publish(url: str, *names: str) -> None:
    today = datetime.now(UTC).date()  # noqa: TID251  # another process has the wall clock
    at = datetime(today.year, today.month, today.day, tzinfo=UTC) - timedelta(days=40)
    events = [
        event(
            "loan.disbursed", recorded=at, event_id=f"e-{name}", loan_id=name, borrower_id=f"B-{name}", product="cash-loan", currency="CNY",
            disbursed_on=at.date().isoformat(), timezone="Etc/GMT", jurisdictions=["ZZ"],
            schedule=[{"n": 1, "due_on": (today - timedelta(days=2)).isoformat(), "principal": 100}],
        )
        for name in names
    ]  # fmt: skip
    body = b"\n".join(msgspec.json.encode(one) for one in events)
    answer = httpx.post(f"{url}/v1/events", content=body, headers={**KEY, "Content-Type": "application/x-ndjson"}, timeout=60)
    assert answer.json() == {"accepted": len(names), "rejected": []}


def taken(folder: Path) -> list[str]:
    with sqlite3.connect(f"file:{folder / 'wallet.db'}?mode=ro", uri=True) as db:
        return [row[0] for row in db.execute("select sequence from taken order by number")]


def fed(url: str) -> list[str]:
    page = httpx.get(f"{url}/v1/feed/overdue-facts", params={"limit": 1000}, headers=KEY).json()
    return [one["sequence"] for one in page["items"]]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's own user may enter when root starts it."""
    with tempfile.TemporaryDirectory(prefix="dunwell-listener-", ignore_cleanup_errors=True) as made:
        yield Path(made)


@pytest.mark.chaos
@pytest.mark.timeout(400)
def test_the_example_wallet_takes_in_every_event_once_and_in_order_whoever_is_killed(folder: Path) -> None:
    port, door = free_port(), free_port()
    url, hook = f"http://127.0.0.1:{port}/ingest", f"http://127.0.0.1:{door}/hook"
    with platform(folder, port) as first:
        settings = {"webhooks": [{"id": "wallet", "url": hook, "topics": ["dunning.overdue-facts"], "secret": SECRET}]}
        put = httpx.put(f"{url}/v1/settings", json=settings, headers={**KEY, "If-Match": '"0"'})
        assert put.status_code == 200, put.text
        publish(url, "L1", "L2")
        with listener(folder, door, url) as wallet:
            wait(lambda: len(taken(folder)) == 2, "what was said before it listened")
            publish(url, "L3", "L4")
            wait(lambda: len(taken(folder)) == 4, "what is brought by the webhook")
            assert forged(hook) == 401
            wallet.kill()
        publish(url, "L5", "L6", "L7")
        with listener(folder, door, url):
            wait(lambda: len(taken(folder)) == 7, "what was said while it was away")
            first.kill()
            with platform(folder, port):
                publish(url, "L8", "L9")
                wait(lambda: len(taken(folder)) == 9, "what is brought after the platform was killed", 120)
                assert taken(folder) == fed(url)


@pytest.mark.chaos
def test_the_example_of_a_late_loan_shows_its_message_and_that_the_payment_silences_what_was_to_follow(folder: Path) -> None:
    port = free_port()
    with platform(folder, port):
        words = [sys.executable, "examples/one_late_loan.py", "--url", f"http://127.0.0.1:{port}"]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "we have not yet received CNY 120.50" in done.stdout
    assert done.stdout.endswith("paid; next: nothing, since the case is clear\n")


def forged(hook: str) -> int:
    """Send what somebody else has signed, and return the answer."""
    now, body = datetime.now(UTC), b'{"sequence":"0009-000000000000001","subject":"L9"}'  # noqa: TID251  # as above
    signature = webhooks.Webhook("whsec_" + "A" * 44).sign("w-1", now, body.decode())
    headers = {"webhook-id": "w-1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
    return httpx.post(hook, content=body, headers=headers).status_code
