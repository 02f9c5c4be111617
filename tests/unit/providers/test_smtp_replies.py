"""What SMTP replies mean, and that nothing else is taken for a reply."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.notifier.domain.results import Accepted, Fault, Refused, Unknown
from services.notifier.providers.smtp.replies import Reply, UnreadableError, outcome, read, refusal


@pytest.mark.parametrize(
    ("stage", "code", "text", "fault", "permanent"),
    [
        ("rcpt", 550, "5.1.1 no such user", "invalid_address", True),
        ("rcpt", 550, "No such user here", "invalid_address", True),
        ("rcpt", 551, "User not local", "invalid_address", True),
        ("rcpt", 553, "mailbox name not allowed", "invalid_address", True),
        ("rcpt", 556, "5.1.10 the domain takes no mail", "invalid_address", True),
        ("rcpt", 550, "5.7.1 blocked by policy", "content", True),
        ("rcpt", 550, "5.2.1 disabled", "content", True),
        ("rcpt", 552, "5.2.2 mailbox full", "content", True),
        ("rcpt", 452, "4.2.2 mailbox full", "provider", False),
        ("rcpt", 450, "4.7.1 greylisted", "throttled_recipient", False),
        ("rcpt", 451, "4.7.1 try again later", "throttled_recipient", False),
        ("rcpt", 450, "mailbox busy", "provider", False),
        ("rcpt", 421, "4.7.0 too many messages", "throttled", False),
        ("rcpt", 550, "5.7.26 unauthenticated mail", "config", False),
        ("mail", 550, "5.7.1 sender not allowed", "config", False),
        ("mail", 553, "5.1.8 bad sender address", "config", False),
        ("mail", 553, "sender rejected", "config", False),
        ("mail", 552, "5.3.4 message too big", "content", True),
        ("mail", 530, "5.7.0 authenticate first", "config", False),
        ("mail", 452, "4.3.1 no room", "provider", False),
        ("auth", 535, "5.7.8 wrong", "config", False),
        ("auth", 535, "wrong", "config", False),
        ("auth", 454, "4.7.0 temporary", "config", False),
        ("hello", 554, "no service for you", "config", False),
        ("hello", 421, "busy", "provider", False),
        ("end", 554, "5.7.1 spam", "content", True),
        ("end", 550, "message refused", "content", True),
        ("end", 554, "5.6.0 malformed", "content", True),
        ("end", 451, "4.3.0 queue file write error", "provider", False),
        ("end", 454, "Throttling failure: Maximum sending rate exceeded", "throttled", False),
        ("end", 554, "Message rejected: Email address is not verified. The following identities failed", "config", False),
        ("end", 432, "never heard of", "provider", False),
        ("end", 599, "never heard of", "content", True),
    ],
)
def test_a_refusal_is_laid_at_the_door_of_whoever_can_mend_it(stage: str, code: int, text: str, fault: Fault, permanent: bool) -> None:
    refused = refusal(stage, Reply(code, text))
    assert (refused.fault, refused.permanent) == (fault, permanent)
    assert refused.code.startswith(str(code))
    assert ("not verified" in refused.code) == ("not verified" in text)


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("4.7.1 greylisted, try again in 300 seconds", timedelta(seconds=300)),
        ("4.7.1 please retry in 5 minutes", timedelta(minutes=5)),
        ("4.7.1 come back later", None),
    ],
)
def test_a_wait_that_a_server_asks_for_is_heard(text: str, wait: timedelta | None) -> None:
    assert refusal("rcpt", Reply(451, text)).retry_after == wait
    assert refusal("rcpt", Reply(551, text)).retry_after is None


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("2.0.0 Ok: queued as 4bX9k21zzz", "4bX9k21zzz"),
        ("OK id=1xXwXv-0001gN-2w", "1xXwXv-0001gN-2w"),
        ("2.0.0 3f2a1b7c Message accepted for delivery", "3f2a1b7c Message accepted for delivery"),
        ("", ""),
    ],
)
def test_the_servers_name_for_what_it_took_is_kept(text: str, ref: str) -> None:
    assert outcome(Reply(250, text)) == Accepted(ref)


@pytest.mark.parametrize("code", [354, 334, 399])
def test_what_is_neither_yes_nor_no_to_a_whole_mail_leaves_it_unknown(code: int) -> None:
    assert outcome(Reply(code, "")) == Unknown("answer_unreadable")


def test_a_status_of_another_class_than_the_code_is_not_believed() -> None:
    assert refusal("rcpt", Reply(550, "4.7.1 greylisted")) == Refused("550", "invalid_address")


async def parsed(raw: bytes) -> Reply:
    reader = asyncio.StreamReader(limit=1024)
    reader.feed_data(raw)
    reader.feed_eof()
    return await read(reader)


async def whole_or_cut(raw: bytes) -> tuple[Reply, int]:
    """Return the reply, and how many of its prefixes were taken for one."""
    taken = 0
    for cut in range(len(raw) - 1):
        with suppress(EOFError):
            await parsed(raw[:cut])
            taken += 1
    return await parsed(raw), taken


TEXT = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=40)


@settings(deadline=None, max_examples=40)
@given(code=st.integers(200, 599), lines=st.lists(TEXT, min_size=1, max_size=5))
def test_a_reply_of_several_lines_is_one_and_cut_anywhere_it_is_none(code: int, lines: list[str]) -> None:
    raw = b"".join(b"%d%b%b\r\n" % (code, b" " if at == len(lines) - 1 else b"-", line.encode()) for at, line in enumerate(lines))
    assert asyncio.run(whole_or_cut(raw)) == (Reply(code, " ".join(lines)), 0)


@pytest.mark.parametrize(
    "raw", [b"hello\r\n", b"25 OK\r\n", b"650 x\r\n", b"250_x\r\n", b"250-x\r\n" * 102, b"\r\n", b"1" * 2000 + b"\r\n"]
)
async def test_what_is_no_reply_is_refused(raw: bytes) -> None:
    with pytest.raises((UnreadableError, asyncio.LimitOverrunError)):
        await parsed(raw)
