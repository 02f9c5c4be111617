"""Delivery receipts of SMSCs in their various forms, and what the receipts of parts come to."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.receipts import Receipt, Reduced, Standing, of_whole, reduced
from services.notifier.domain.results import Fault
from services.notifier.providers.links import Written
from services.notifier.providers.smpp.pdu import Number, Sms
from services.notifier.providers.smpp.receipts import ended, heard, reference

US, THEM = Number("Lender", 5, 0), Number("12025550123", 1, 1)
LONG = "id:{id} sub:001 dlvrd:001 submit date:2611240200 done date:2611240201 stat:{stat} err:{err} text:Your instalment"


def a_receipt(said: str, esm_class: int = 0x04, **options: bytes) -> Sms:
    tags = {"named": 0x001E, "state": 0x0427, "payload": 0x0424}
    return Sms(THEM, US, said.encode("latin-1"), esm_class=esm_class, options={tags[name]: value for name, value in options.items()})


@pytest.mark.parametrize(
    ("state", "error", "receipt"),
    [
        (2, 0, Receipt(Standing.DELIVERED, provider_ref="a1b")),
        (3, 0, Receipt(Standing.FAILED, provider_ref="a1b", code="EXPIRED", fault="provider")),
        (5, 12, Receipt(Standing.FAILED, provider_ref="a1b", code="UNDELIV 012", fault="content")),
        *[(state, 0, None) for state in (0, 1, 6, 7, 99)],
    ],
)
def test_the_answer_to_a_question_is_a_receipt_where_a_message_has_ended(state: int, error: int, receipt: Receipt | None) -> None:
    assert ended("0A1B", state, error) == receipt


@pytest.mark.parametrize(
    ("stat", "err", "standing", "code", "fault"),
    [
        ("DELIVRD", "000", Standing.DELIVERED, None, "none"),
        ("ENROUTE", "000", Standing.SENT, None, "none"),
        ("ACCEPTD", "000", Standing.SENT, None, "none"),
        ("EXPIRED", "000", Standing.FAILED, "EXPIRED", "provider"),
        ("UNDELIV", "012", Standing.FAILED, "UNDELIV 012", "content"),
        ("REJECTD", "99", Standing.FAILED, "REJECTD 99", "content"),
        ("DELETED", "000", Standing.FAILED, "DELETED", "content"),
    ],
)
def test_a_receipt_in_words_says_how_far_a_message_came(stat: str, err: str, standing: Standing, code: str | None, fault: Fault) -> None:
    found = heard(a_receipt(LONG.format(id="0A1B", stat=stat, err=err)))
    assert found == Receipt(standing, provider_ref="a1b", address=THEM.value, code=code, fault=fault)


def test_optional_parameters_win_over_words() -> None:
    found = heard(a_receipt(LONG.format(id="1", stat="UNDELIV", err="1"), named=b"ABC\0", state=b"\x02"))
    assert isinstance(found, Receipt)
    assert (found.standing, found.provider_ref) == (Standing.DELIVERED, "abc")
    only = heard(a_receipt("", named=b"77\0", state=b"\x08"))
    assert isinstance(only, Receipt)
    assert (only.standing, only.provider_ref, only.code) == (Standing.FAILED, "77", "REJECTD")


@pytest.mark.parametrize(
    "said", ["", "stat:DELIVRD", "id:1 stat:UNKNOWN err:0", "id:1 stat:NONSENSE", "nothing at all", "id: stat:DELIVRD"]
)
def test_a_receipt_that_says_nothing_is_nothing(said: str) -> None:
    assert heard(a_receipt(said)) is None


def test_what_a_person_writes_is_no_receipt_though_it_reads_like_one() -> None:
    said = "id:1 stat:DELIVRD"
    assert heard(a_receipt(said, esm_class=0)) == Written(THEM.value, US.value, said)
    assert heard(Sms(THEM, US, "停".encode("utf-16-be"), data_coding=8)) == Written(THEM.value, US.value, "停")
    assert heard(Sms(THEM, US, b"\x05\x00\x03\x01\x02\x01STOP", esm_class=0x40)) == Written(THEM.value, US.value, "STOP")


@pytest.mark.parametrize(
    ("first", "later", "bases"),
    [
        ("0e99AF", "E99af", (None, None)),
        ("00012", "12", (None, None)),
        ("3039", "12345", ("hex", "decimal")),
        ("12345", "00003039", ("decimal", "hex")),
        ("Opaque-Id", "OPAQUE-ID", (None, None)),
        ("not-hex", "NOT-HEX", ("hex", "decimal")),
        ("000", "0", (None, None)),
    ],
)
def test_an_id_is_the_same_in_another_case_base_or_with_other_zeros(first: str, later: str, bases: tuple[str | None, str | None]) -> None:
    assert reference(first, bases[0]) == reference(later, bases[1])


@given(number=st.integers(0, 2**64))
def test_any_number_is_the_same_in_both_bases(number: int) -> None:
    assert reference(f"{number:X}", "hex") == reference(f"{number:012d}", "decimal")


WORDS = st.lists(st.tuples(st.integers(1, 3), st.sampled_from([Standing.SENT, Standing.FAILED, Standing.DELIVERED])), max_size=5)


@given(words=WORDS)
def test_a_message_has_arrived_when_all_its_parts_have_in_any_order(words: list[tuple[int, Standing]]) -> None:
    said = [(part, Receipt(standing)) for part, standing in words]
    whole = of_whole("m", 3, said)
    arrived = {part for part, standing in words if standing is Standing.DELIVERED}
    if not words:
        assert whole is None
        return
    assert whole is not None
    failed = any(standing is Standing.FAILED for _, standing in words)
    assert whole.standing is (Standing.DELIVERED if len(arrived) == 3 else Standing.FAILED if failed else Standing.SENT)
    for order in itertools.permutations(said):
        along = [of_whole("m", 3, order[: end + 1]) for end in range(len(order))]
        assert reduced(one for one in along if one is not None).standing is reduced([whole]).standing


def test_what_has_arrived_stays_so() -> None:
    whole = of_whole("m", 1, [(1, Receipt(Standing.DELIVERED)), (1, Receipt(Standing.FAILED))])
    assert whole is not None
    assert reduced([whole], Reduced(Standing.FAILED)).standing is Standing.DELIVERED
