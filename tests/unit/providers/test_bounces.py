"""Bounced mails: which of ours they are about, what they say, and which of them are believed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.receipts import Receipt, Standing
from services.notifier.domain.results import Fault
from services.notifier.providers.smtp.bounces import LONGEST_MARK, marked, reports
from services.notifier.providers.smtp.mime import From, assemble
from services.notifier.providers.smtp.relay import Relay
from services.notifier.providers.wire import UnfitError
from tests.support.bounces import FORMS, CameBack
from tests.unit.providers.values import NOW, a_message, an_account

KEY = b"k" * 32
MESSAGE = a_message("email", "b1@example.com", subject="A word")
MARK = marked(MESSAGE.id, KEY)
SENDER = From("dunning@lender.example", "Lender")
SERVERS = pytest.mark.parametrize("server", sorted(FORMS))


def original(mark: str = MARK) -> str:
    return assemble(replace(MESSAGE, id=mark), SENDER, NOW, eight_bit=True).decode().replace("\r\n", "\n")


def bounce(**changes: str) -> CameBack:
    return replace(CameBack("dunning@lender.example", original()), **changes)


@SERVERS
@pytest.mark.parametrize(
    ("diagnostic", "status", "command", "code", "fault"),
    [
        ("550 5.1.1 <b1@example.com>: User unknown", "5.1.1", "RCPT TO", "550 5.1.1", "invalid_address"),
        ("550-5.1.1 The email account that you tried to reach does not exist.\n    550 5.1.1 Try again", "5.1.1", "RCPT TO", "550 5.1.1",
         "invalid_address"),
        ("550 Unrouteable address", "5.0.0", "RCPT TO", "550", "invalid_address"),
        ("550 Unrouteable address", "5.1.1", "RCPT TO", "550 5.1.1", "invalid_address"),
        ("550 We do not like this", "5.0.0", "end of DATA", "550", "content"),
        ("552 5.2.2 Mailbox full", "5.2.2", "RCPT TO", "552 5.2.2", "content"),
        ("554 5.7.1 Message refused as spam", "5.7.1", "end of DATA", "554 5.7.1", "content"),
        ("451 4.4.1 Timed out", "4.4.7", "RCPT TO", "451 4.4.1", "provider"),
    ],
)  # fmt: skip
def test_a_mail_that_came_back_failed_and_only_a_bad_address_is_the_addresss_fault(  # noqa: PLR0917  # a table's columns
    server: str, diagnostic: str, status: str, command: str, code: str, fault: Fault
) -> None:
    raw = bounce(diagnostic=diagnostic, status=status, command=command).written_by(server)
    assert reports(raw, KEY) == [Receipt(Standing.FAILED, message_id=MESSAGE.id, code=code, fault=fault)]


@SERVERS
@pytest.mark.parametrize(
    ("action", "standing"), [("delayed", Standing.ACCEPTED), ("delivered", Standing.DELIVERED), ("relayed", Standing.SENT)]
)
def test_what_is_delayed_or_arrives_is_no_failure(server: str, action: str, standing: Standing) -> None:
    raw = bounce(action=action, status="4.4.1", diagnostic="451 4.4.1 Timed out").written_by(server)
    assert reports(raw, KEY) == [Receipt(standing, message_id=MESSAGE.id)]


@SERVERS
def test_the_return_path_alone_leads_to_the_mail_where_its_headers_are_not_sent_back(server: str) -> None:
    said = bounce(return_path=f"bounces+{MARK}@lender.example", original="Subject: x\n", returned="text/plain")
    assert [one.message_id for one in reports(said.written_by(server), KEY)] == [MESSAGE.id]
    shouted = replace(said, return_path=said.return_path.upper())
    assert [one.message_id for one in reports(shouted.written_by(server), KEY)] == [MESSAGE.id]
    renamed = replace(said, return_path="postmaster@lender.example", delivered_to=f"bounces+{MARK}@lender.example")
    assert [one.message_id for one in reports(renamed.written_by(server), KEY)] == [MESSAGE.id]


@SERVERS
@pytest.mark.parametrize("returned", ["message/rfc822", "text/rfc822-headers"])
def test_the_id_of_the_mail_that_is_sent_back_leads_to_it(server: str, returned: str) -> None:
    raw = bounce(returned=returned).written_by(server).replace(b"References:", b"X-Nothing:")
    assert [one.message_id for one in reports(raw, KEY)] == [MESSAGE.id]


@SERVERS
def test_a_mark_that_is_not_ours_or_of_two_mails_says_nothing(server: str) -> None:
    forged = MARK[:-1] + ("b" if MARK[-1] == "a" else "a")
    assert reports(bounce(original=original(forged)).written_by(server), KEY) == ()
    assert reports(bounce(original=original(MESSAGE.id)).written_by(server), KEY) == ()
    assert reports(bounce().written_by(server), b"another key" * 3) == ()
    assert reports(bounce().written_by(server), b"") == ()
    other = marked("m-" + "1" * 20, KEY)
    assert reports(bounce(return_path=f"b+{other}@lender.example").written_by(server), KEY) == ()


@SERVERS
def test_what_a_person_or_a_program_writes_there_is_no_report(server: str) -> None:
    raw = bounce().written_by(server)
    for changed in (raw.replace(b"multipart/report", b"multipart/mixed"), raw.replace(b"delivery-status;", b"disposition-notification;")):
        assert reports(changed, KEY) == ()
    assert list(reports(raw.replace(b"Action: failed", b"Action: unheard-of"), KEY)) == []


@given(noise=st.binary(max_size=400), place=st.integers(0, 4000), server=st.sampled_from(sorted(FORMS)))
def test_any_bytes_are_read_or_left(noise: bytes, place: int, server: str) -> None:
    whole = bounce().written_by(server)
    for raw in (noise, whole[:place] + noise + whole[place:], whole[:place]):
        assert {one.message_id for one in reports(raw, KEY)} <= {MESSAGE.id}


@SERVERS
def test_a_report_is_read_whatever_follows_it_and_left_where_its_head_hardly_ends(server: str) -> None:
    raw = bounce().written_by(server)
    assert reports(raw + b"x\r\n" * 100_000, KEY) == reports(raw, KEY) != ()
    assert reports(b"X-Long: " + b"x" * 40_000 + b"\r\n" + raw, KEY) == ()


def test_a_mail_in_a_mail_a_thousand_times_over_is_left() -> None:
    raw = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (place, place) for place in range(3000))
    assert reports(raw, KEY) == ()


def a_relay(bounces_to: str | None = None, key: bytes = KEY) -> Relay:
    settings = {"host": "mail.example.com", "from": "dunning@lender.example"} | ({"bounces_to": bounces_to} if bounces_to else {})
    return Relay.of(replace(an_account("smtp", {}, settings), key=key))


def test_each_mail_has_a_return_path_of_its_own_where_its_account_says_so() -> None:
    assert a_relay("bounces+{id}@lender.example").return_path(MARK) == f"bounces+{MARK}@lender.example"
    assert a_relay("bounces@lender.example").return_path(MARK) == "bounces@lender.example"
    assert a_relay().return_path(MARK) == "dunning@lender.example"
    assert len(LONGEST_MARK) == len(MARK)


@pytest.mark.parametrize("bounces_to", [f"{'b' * 40}+{{id}}@lender.example", "{id}", "a b{id}@lender.example"])
def test_a_return_path_that_is_none_with_a_mark_in_it_is_refused(bounces_to: str) -> None:
    with pytest.raises(UnfitError):
        a_relay(bounces_to)
