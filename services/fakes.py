"""The fake providers as a program of their own, to send through before an account is paid for."""

from __future__ import annotations

import asyncio
import base64
import signal
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import typer
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from rich.console import Console
from rich.table import Table

from libs.common.lifecycle import listening_on
from libs.common.settings import SettingsError
from services.ends import run
from services.notifier.providers.codes import Meaning
from services.notifier.providers.fake import sendgrid
from services.notifier.providers.fake.reporting import Reporter
from services.notifier.providers.fake.server import FakeProviders
from services.notifier.providers.fake.speaker import FAILS, SAYS_NOTHING, magic
from services.notifier.providers.wire import Account

HOST = "127.0.0.1"
AWS = {"access_key_id": "AKIDFAKE", "secret_access_key": "fake"}
TEXTS = ("due_soon", "gentle", "firm", "offer", "final", "bureau_notice")
MADE_HERE = frozenset({sendgrid.SIGNING})
"""Credentials that only the fake has, not our account."""
say = Console()


def command(
    port: Annotated[int, typer.Option(help="on this machine only")] = 8010,
    receipts: Annotated[
        list[str] | None, typer.Option(help="KIND=URL: where to send receipts if the message does not say; may be repeated")
    ] = None,
    after: Annotated[float, typer.Option(min=0.0, max=3600.0, help="seconds from a message to its receipt")] = 1.0,
) -> None:
    """Run fake providers, to send through without an account anywhere, until Ctrl-C."""
    urls = dict(_pair(one) for one in receipts or ())
    run(_serve(FakeProviders(accounts()), port, urls, after))


def accounts() -> dict[str, Account]:
    """Return an account of every kind that can be pointed here; what must be secret is new each time, the rest is no secret."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    mail, phone = {"from": "dunning@lender.example", "from_name": "Lender"}, "+12025550100"
    made: tuple[tuple[str, dict[str, str], dict[str, str]], ...] = (
        ("twilio", {"account_sid": f"AC{'0' * 32}", "auth_token": "fake"}, {"from": phone}),
        ("vonage", {"api_key": "fake", "api_secret": "fake", "signature_secret": "fake"}, {"from": "Lender", "signature_method": "sha256"}),
        ("messagebird", {"access_key": "fake", "signing_key": "f" * 32}, {"from": "Lender"}),
        ("sendgrid", {"api_key": "fake", "verification_key": public, sendgrid.SIGNING: private}, mail),
        ("aws_ses", AWS, {**mail, "region": "eu-central-1"}),
        ("aws_sms", AWS, {"region": "eu-central-1"}),
        (
            "aliyun_sms", {"access_key_id": "fake", "access_key_secret": "fake"},
            {"sign_name": "Lender", "templates": _texts({"total": "total"})},
        ),
        (
            "tencent_sms", {"secret_id": "fake", "secret_key": "fake"},
            {"sdk_app_id": "1400006666", "region": "ap-guangzhou", "sign_name": "Lender", "templates": _texts(["total"])},
        ),
        ("africastalking", {"api_key": "fake"}, {"username": "lender", "from": "Lender"}),
        ("jpush", {"app_key": "fake", "master_secret": "fake"}, {}),
    )  # fmt: skip
    return {kind: Account(kind, kind, credentials, settings) for kind, credentials, settings in made}


def wanted(fakes: FakeProviders, name: str) -> dict[str, Any]:
    """Return the body of `PUT /v1/providers/{name}` that points an account at its fake."""
    account = fakes.account(name)
    credentials = {key: value for key, value in account.credentials.items() if key not in MADE_HERE}
    return {"kind": account.kind, "credentials": credentials, "settings": dict(account.settings), "base_url": account.base_url}


async def _serve(fakes: FakeProviders, port: int, urls: Mapping[str, str], after_s: float) -> None:
    if unknown := set(urls) - set(fakes.accounts):
        raise SettingsError(f"--receipts: no fake is of kind {', '.join(sorted(unknown))}; there are {', '.join(fakes.accounts)}")
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    reporter = Reporter(fakes, lambda line: say.print(line, highlight=False, markup=False, soft_wrap=True), after_s, urls)
    fakes.on_taken, fakes.describe = reporter.on_taken, lambda name: wanted(fakes, name)
    with listening_on(HOST, port, drain_s=0.0, choose="--port") as listening:
        port = listening.port
    async with fakes.served(HOST, port):
        _explain(fakes)
        await stop.wait()
        await reporter.close()


def _explain(fakes: FakeProviders) -> None:
    bases = Table("kind", "base URL", title="fake providers, with base URLs for accounts")
    for name, account in fakes.accounts.items():
        bases.add_row(account.kind, f"{fakes.origin}/{name}")
    asked = Table("phone number", "elsewhere", "result", title="addresses that ask for an answer")
    for meaning in (one for one in Meaning if one is not Meaning.COMPLAINED):
        asked.add_row(magic(meaning), f"{meaning}@...", f"answered as {meaning}")
    asked.add_row(FAILS, "fails@...", "taken, then its receipt says failed")
    asked.add_row(SAYS_NOTHING, "silent@...", "taken, and no receipt comes")
    say.print(bases, asked)
    say.print(
        f"GET {fakes.origin}/KIND is the body for PUT /v1/providers/NAME of the notifier. Ctrl-C ends it.", highlight=False, soft_wrap=True
    )


def _texts(params: Mapping[str, str] | list[str]) -> str:
    """Return approved templates for each of our English texts, with a placeholder for the sum."""
    return msgspec.json.encode({name: {"en": {"code": "1", "params": params}} for name in TEXTS}).decode()


def _pair(one: str) -> tuple[str, str]:
    kind, _, url = one.partition("=")
    if not url.startswith(("http://", "https://")):
        raise SettingsError(f"--receipts is KIND=URL, not {one!r}")
    return kind, url
