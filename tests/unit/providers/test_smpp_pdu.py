"""SMPP on the wire: what is written can be read back, and matches two other implementations byte for byte."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import smpp34
from hypothesis import given
from hypothesis import strategies as st
from smpplib import gsm as other_gsm
from smpplib import smpp as other

from services.notifier.domain.segments import BASIC, EXTENDED, segments
from services.notifier.providers.smpp import alphabet, pdu
from services.notifier.providers.smpp.alphabet import EXTENSION, TABLE, encoded, gsm
from services.notifier.providers.smpp.pdu import Command, MalformedError, Number, Pdu, Sms
from services.notifier.providers.wire import UnfitError

OCTET = st.integers(0, 255)
DIGITS = st.text("0123456789", max_size=20)
NUMBERS = st.builds(Number, DIGITS, st.integers(0, 6), st.integers(0, 18))
TAGS = st.dictionaries(st.sampled_from([0x0204, 0x001E, 0x0427, 0x1400]), st.binary(max_size=40), max_size=3)
SMS = st.builds(
    Sms, NUMBERS, NUMBERS, st.binary(max_size=254), st.text("ABC", max_size=5), OCTET, OCTET, st.integers(0, 3), st.just(""),
    st.sampled_from(["", "261124050000000+"]), OCTET, st.integers(0, 1), OCTET, OCTET, TAGS,
)  # fmt: skip


@given(sms=SMS)
def test_a_message_is_read_back_as_it_was_written(sms: Sms) -> None:
    assert Sms.decode(sms.encode()) == sms


@given(sms=SMS, sequence=st.integers(1, pdu.LAST_SEQUENCE))
def test_another_implementation_writes_the_same_bytes(sms: Sms, sequence: int) -> None:
    theirs = smpp34.SubmitSm(
        sms.source.value, sms.destination.value, sms.message, service_type=sms.service_type, source_addr_ton=sms.source.ton,
        source_addr_npi=sms.source.npi, dest_addr_ton=sms.destination.ton, dest_addr_npi=sms.destination.npi, esm_class=sms.esm_class,
        protocol_id=sms.protocol_id, priority_flag=sms.priority, validity_period=sms.validity, registered_delivery=sms.registered,
        replace_if_present_flag=sms.replace, data_coding=sms.data_coding, sm_default_msg_id=sms.default_id, sequence_number=sequence,
        tlvs=[smpp34.Tlv(tag, value) for tag, value in sms.options.items()],
    )  # fmt: skip
    assert Pdu(Command.SUBMIT_SM, sequence, 0, sms.encode()).encode() == theirs.encode()


def by_smpplib(name: str, **fields: Any) -> bytes:
    client = SimpleNamespace(next_sequence=lambda: 7)
    made: bytes = other.make_pdu(name, client=client, sequence=7, **fields).generate()
    return made


def test_a_third_one_writes_the_same_bytes_for_a_part_and_for_a_bind() -> None:
    sms = Sms(Number("Lender", 5, 0), Number("12025550123", 1, 1), b"\x05\x00\x03\x01\x02\x01hi", esm_class=0x40, registered=1)
    theirs = by_smpplib(
        "submit_sm", source_addr="Lender", source_addr_ton=5, source_addr_npi=0, destination_addr="12025550123", dest_addr_ton=1,
        dest_addr_npi=1, short_message=sms.message, esm_class=0x40, registered_delivery=1,
    )  # fmt: skip
    assert Pdu(Command.SUBMIT_SM, 7, 0, sms.encode()).encode() == theirs
    bind = by_smpplib("bind_transceiver", system_id="lender", password="secret", system_type="", interface_version=0x34)
    assert Pdu(Command.BIND_TRANSCEIVER, 7, 0, pdu.bind("lender", "secret")).encode() == bind


@given(name=st.text("0aAfF-", min_size=1, max_size=64), state=st.integers(0, 255), error=st.integers(0, 255))
def test_a_question_about_a_message_and_its_answer_are_what_that_one_writes(name: str, state: int, error: int) -> None:
    asked = by_smpplib("query_sm", message_id=name, source_addr_ton=5, source_addr_npi=0, source_addr="Lender")
    assert Pdu(Command.QUERY_SM, 7, 0, pdu.query(name, Number("Lender", 5, 0))).encode() == asked
    told = by_smpplib("query_sm_resp", message_id=name, final_date="261124020100000+", message_state=state, error_code=error)
    assert pdu.queried(told[16:]) == (state, error)
    with pytest.raises(MalformedError):
        pdu.queried(told[16:-1])


@given(sms=SMS, cut=st.integers(0, 400))
def test_a_body_that_is_cut_is_malformed_or_lacks_only_optional_parameters(sms: Sms, cut: int) -> None:
    body = sms.encode()
    plain = len(Sms.encode(Sms(**{name: getattr(sms, name) for name in Sms.__slots__ if name != "options"})))
    try:
        found = Sms.decode(body[:cut])
    except MalformedError:
        return
    assert cut >= plain
    assert {**found.options}.items() <= {**sms.options}.items()


async def parsed(raw: bytes) -> Pdu:
    reader = asyncio.StreamReader()
    reader.feed_data(raw)
    reader.feed_eof()
    return await pdu.read(reader)


async def test_a_pdu_of_an_impossible_length_is_none_and_one_that_is_cut_is_an_end() -> None:
    whole = Pdu(Command.ENQUIRE_LINK, 3, 0, b"abc").encode()
    assert await parsed(whole) == Pdu(Command.ENQUIRE_LINK, 3, 0, b"abc")
    for cut in range(len(whole)):
        with pytest.raises(EOFError):
            await parsed(whole[:cut])
    for length in (0, 15, pdu.LONGEST + 1, 2**32 - 1):
        with pytest.raises(MalformedError):
            await parsed(length.to_bytes(4) + whole[4:])


@pytest.mark.parametrize("field", [{"service_type": "longer"}, {"message": b"x" * 255}, {"source": Number("1" * 21)}, {"validity": "a\0b"}])
def test_what_has_no_room_in_its_field_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="too long"):
        Sms(**{"source": Number("1"), "destination": Number("2"), **field}).encode()


def test_the_alphabet_is_the_one_by_which_parts_are_counted() -> None:
    assert set(TABLE) - {"\x1b"} == BASIC
    assert set(EXTENSION) == EXTENDED
    assert {char: TABLE.index(char) for char in "@\nÉ ¤?¡Ä§¿ü"} == {
        "@": 0x00, "\n": 0x0A, "É": 0x1F, " ": 0x20, "¤": 0x24, "?": 0x3F, "¡": 0x40, "Ä": 0x5B, "§": 0x5F, "¿": 0x60, "ü": 0x7E,
    }  # fmt: skip


@given(text=st.text(st.sampled_from(sorted((BASIC | EXTENDED) - {"\f", "§"})), max_size=400))  # the other one lacks these
def test_a_text_in_the_gsm_alphabet_is_written_as_another_implementation_does_and_read_back(text: str) -> None:
    assert gsm(text) == other_gsm.gsm_encode(text)
    assert alphabet.read(gsm(text), alphabet.GSM, has_header=False) == text


@given(text=st.text(max_size=1200))
def test_the_parts_of_a_text_fit_say_their_place_and_together_say_the_text(text: str) -> None:
    coding, parts = encoded(text, "m-1")
    assert max(map(len, parts)) <= (160 if coding == alphabet.GSM else 140)
    assert len(parts) == len(segments(text).parts)
    several = len(parts) > 1
    if several:
        assert len({part[3] for part in parts}) == 1
        assert [(part[:3], part[4], part[5]) for part in parts] == [(b"\x05\x00\x03", len(parts), at) for at in range(1, len(parts) + 1)]
    assert "".join(alphabet.read(part, coding, has_header=several) for part in parts) == text


def test_a_text_of_more_parts_than_can_be_numbered_is_refused() -> None:
    with pytest.raises(UnfitError):
        encoded("x" * 153 * 256, "m-1")
