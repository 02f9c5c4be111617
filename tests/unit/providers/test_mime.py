"""Mail as bytes: what is assembled by hand can be read by the library's parser, whatever the message says."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.message import EmailMessage, MIMEPart
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.providers.smtp.mime import From, assemble
from tests.unit.providers.values import NOW, a_message

SENDER = From("dunning@lender.example", "Lender & Söhne, Inc.")
HEADERS = ["Date", "From", "To", "Subject", "Message-ID", "Auto-Submitted", "MIME-Version"]
BREAKS = st.sampled_from(
    ["\r\nBcc: x@y.example\r\n", "\r", "\n", "\r\n.\r\n", "\n.\n", "=?utf-8?b?QQ==?=", "\x00", "\u2028", "\x85", " \t "]
)
TEXTS = st.lists(st.text(max_size=200) | BREAKS, max_size=8).map("".join)
LONG = st.builds(lambda piece, count: piece * count, st.text(min_size=1, max_size=3), st.integers(300, 2000))
BODIES = TEXTS | LONG


def parsed(raw: bytes) -> EmailMessage:
    return message_from_bytes(raw, policy=policy.default)


def as_sent(text: str) -> str:
    """Return a body as a mail can carry it: one kind of line end, and one at the end."""
    lines = re.sub(r"\r\n|\r", "\n", text)
    return lines if lines.endswith("\n") else lines + "\n"


def said(part: MIMEPart) -> str:
    raw = part.get_payload(decode=True)
    assert isinstance(raw, bytes)
    return raw.decode().replace("\r\n", "\n")


@given(subject=TEXTS, body=BODIES, html=st.none() | BODIES, name=TEXTS, eight_bit=st.booleans())
def test_whatever_a_message_says_is_read_back_and_nothing_of_it_becomes_a_header(
    subject: str, body: str, html: str | None, name: str, eight_bit: bool
) -> None:
    raw = assemble(
        a_message("email", "b@x.example", subject=subject, body=body, html=html), From(SENDER.address, name), NOW, eight_bit=eight_bit
    )
    mail = parsed(raw)
    kinds = ["Content-Type", *([] if html is not None else ["Content-Transfer-Encoding"])]
    assert list(mail.keys()) == [*HEADERS, *kinds]
    assert str(mail["Subject"]).split() == re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", subject).split()
    assert [address.addr_spec for address in mail["To"].addresses] == ["b@x.example"]
    assert [address.addr_spec for address in mail["From"].addresses] == [SENDER.address]
    parts = list(mail.iter_parts()) if html is not None else [mail]
    assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"][: len(parts)]
    texts = [body] if html is None else [body, html]
    assert [said(part).rstrip("\n") for part in parts] == [as_sent(text).rstrip("\n") for text in texts]


@given(subject=TEXTS, body=BODIES, html=st.none() | BODIES, eight_bit=st.booleans())
def test_every_line_is_short_enough_and_ends_with_both_characters(subject: str, body: str, html: str | None, eight_bit: bool) -> None:
    raw = assemble(a_message("email", "b@x.example", subject=subject, body=body, html=html), SENDER, NOW, eight_bit=eight_bit)
    assert raw.endswith(b"\r\n")
    lines = raw.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert not any(b"\r" in line or b"\n" in line or b"\x00" in line for line in lines)
    assert eight_bit or raw.isascii()
    head = raw.partition(b"\r\n\r\n")[0]
    assert max(len(line) for line in head.split(b"\r\n")) <= 76


def test_the_headers_say_who_when_and_which_message() -> None:
    mail = parsed(assemble(a_message("email", "b@x.example", subject="Payment"), SENDER, NOW, eight_bit=False))
    assert mail["From"].addresses[0].display_name == SENDER.name
    assert parsedate_to_datetime(mail["Date"]) == NOW
    assert mail["Message-ID"] == "<m-0123456789abcdefghjk@lender.example>"
    assert (mail["Auto-Submitted"], mail["Subject"]) == ("auto-generated", "Payment")
    assert "List-Unsubscribe" not in mail


def test_a_link_to_unsubscribe_is_offered_for_one_click() -> None:
    link = "https://dunning.example/v1/unsubscribe/abc"
    mail = parsed(assemble(a_message("email", "b@x.example", unsubscribe=link), SENDER, NOW, eight_bit=False))
    assert (mail["List-Unsubscribe"], mail["List-Unsubscribe-Post"]) == (f"<{link}>", "List-Unsubscribe=One-Click")


@pytest.mark.parametrize("link", ["http://a.example/u", "https://a.example/>\r\nBcc: x@y.example", "https://a.example/ü", "javascript:1"])
def test_a_link_that_could_say_more_than_a_link_is_left_out(link: str) -> None:
    raw = assemble(a_message("email", "b@x.example", unsubscribe=link), SENDER, NOW, eight_bit=False)
    assert b"Unsubscribe" not in raw
    assert b"Bcc" not in raw


@pytest.mark.parametrize(
    ("body", "eight_bit", "encoding"),
    [
        ("plain", False, "7bit"),
        ("für dich", True, "8bit"),
        ("für dich und alle anderen, die auch noch etwas schulden", False, "quoted-printable"),
        ("您的账单已逾期", False, "base64"),
        ("x" * 999, True, "quoted-printable"),
        ("a zero \x00 in the midst of words", True, "quoted-printable"),
    ],
)
def test_a_text_has_the_plainest_encoding_that_carries_it(body: str, eight_bit: bool, encoding: str) -> None:
    mail = parsed(assemble(a_message("email", "b@x.example", body=body), SENDER, NOW, eight_bit=eight_bit))
    assert mail["Content-Transfer-Encoding"] == encoding
