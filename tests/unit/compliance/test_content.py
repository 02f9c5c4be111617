"""What the rules require of a text."""

import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.value import replace
from libs.compliance import Allow, ContentKind, Deny, Profile, RuleKind, Text, content_asked, decide, faults, languages, load_packs
from libs.compliance.content import Part, plain
from libs.compliance.packs import PackError
from tests.unit.compliance.build import known, packs_with, proposed

PACKS = load_packs()
BOTH = frozenset({ContentKind.IDENTITY, ContentKind.FORBIDDEN_WORDING})
NOON = "2026-11-30T12:00:00+01:00"


def a_text(body: str, language: str | None = "en", **more: Any) -> Text:
    return Text((Part("body", body),), language, **more)


def wrong(text: Text, kind: ContentKind) -> list[str]:
    return [fault.reason for fault in faults(text, frozenset({kind}))]


@pytest.mark.parametrize(
    ("language", "says"),
    [
        ("en", "We will have you arrested."),
        ("en", "The police are on their way"),
        ("en", "You will go to JAIL"),
        ("en", "We will take you to court"),
        ("en", "Legal action will follow"),
        ("en", "Our lawyers at Smith law firm have filed a lawsuit"),
        ("en", "FINAL WARNING"),
        ("en", "We will call your employer"),
        ("en", "we will tell all your friends"),
        ("en", "You liar"),
        ("en", "Pay immediately or we"),
        ("en", "We know where you live"),
        ("en", "this will ruin your credit"),
        ("en", "borrow from somebody else"),
        ("en", "This is the Central Bank officer"),
        ("en", "pay, or else we come to your house"),
        ("en", "your wages will be garnished"),
        ("zh", "再不还款就报警"),
        ("zh", "我们将起诉您"),
        ("zh", "法院传票"),
        ("zh", "我们会联系您的家人"),
        ("zh", "老赖"),
        ("zh", "后果自负"),
        ("zh", "列入黑名单"),
        ("zh", "请向亲友借款还清"),
        ("zh", "我们会上门"),
        ("zh", "律師函已寄出"),
        ("es", "Será arrestado"),
        ("es", "Presentaremos una demanda"),
        ("es", "embargo de su salario"),
        ("es", "Avisaremos a su familia"),
        ("es", "es usted un moroso"),
        ("es", "De lo contrario"),
        ("es", "pida prestado"),
        ("es", "último aviso"),
        ("zh", "You will be arrested"),
        ("fr", "You will be arrested"),
        (None, "我们将起诉您"),
    ],
)
def test_a_threat_a_bluff_an_insult_and_shame_are_found_in_every_language(language: str | None, says: str) -> None:
    assert wrong(a_text(says, language), ContentKind.FORBIDDEN_WORDING)


@pytest.mark.parametrize(
    ("language", "says"),
    [
        ("en", "Please pay in our app, or tell us there if you need more time. We would like to find a way together."),
        ("en", "An overdue loan may be reported to a credit bureau."),
        ("en", "Contact us if the sum is wrong; our courteous staff will help. The courier app is not affected."),
        ("zh", "请在应用中还款,如有困难,请联系我们。"),
        ("es", "Pague en nuestra aplicación o escríbanos si necesita más tiempo."),
    ],
)
def test_a_kind_text_is_let_through(language: str, says: str) -> None:
    assert wrong(a_text(says, language), ContentKind.FORBIDDEN_WORDING) == []


@pytest.mark.parametrize(
    "says",
    [
        "ARRESTED",
        "arr\u200bested",
        "\uff41\uff52\uff52\uff45\uff53\uff54\uff45\uff44",
        "you will be\n arrested!",
        "ar\u00adrested",
        "请arrested您",
    ],
)
def test_a_word_is_found_however_it_is_dressed_up(says: str) -> None:
    [fault] = faults(a_text(says), frozenset({ContentKind.FORBIDDEN_WORDING}))
    assert (fault.part, fault.excerpt) == ("body", plain(says)[fault.at or 0 :][: len("arrested")])


def test_no_character_without_a_shape_is_left_in_a_text() -> None:
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    assert not [char for char in plain(every) if unicodedata.category(char) == "Cf"]


@given(st.text(max_size=40), st.integers(0, 99))
def test_what_is_remembered_of_a_text_does_not_hang_on_its_numbers(words: str, number: int) -> None:
    one, other = (faults(a_text(f"{words} arrest {n} Acme", lender="Acme"), BOTH) for n in (number, 99 - number))
    assert [(fault.kind, fault.part, fault.reason) for fault in one] == [(fault.kind, fault.part, fault.reason) for fault in other]


def test_an_excerpt_shows_the_numbers_of_this_very_text() -> None:
    for hours in ("24", "48"):
        [fault] = faults(a_text(f"Pay within {hours} hours or we"), frozenset({ContentKind.FORBIDDEN_WORDING}))
        assert fault.excerpt == f"within {hours} hours or we"


def test_a_language_without_a_list_cannot_be_judged() -> None:
    assert languages() == {"en", "es", "zh"}
    assert "no list" in wrong(a_text("Bonjour", "fr"), ContentKind.FORBIDDEN_WORDING)[0]


def test_the_lender_is_named_in_some_part() -> None:
    assert wrong(a_text("Dear Li, hello", lender="Acme"), ContentKind.IDENTITY)
    assert not wrong(a_text("Dear Li, ACME here", lender="Acme"), ContentKind.IDENTITY)
    assert wrong(a_text("Dear Li", lender=" "), ContentKind.IDENTITY)
    assert not wrong(a_text("Dear Li", lender=None), ContentKind.IDENTITY)


def test_each_part_of_the_sum_is_named_and_unknown_parts_are_a_fault() -> None:
    text = "principal CNY 100.00, interest CNY\u00a020.00"
    assert not wrong(a_text(text, amounts=("CNY 100.00", "CNY 20.00")), ContentKind.AMOUNT_SPLIT)
    assert "CNY 0.50" in wrong(a_text(text, amounts=("CNY 100.00", "CNY 0.50")), ContentKind.AMOUNT_SPLIT)[0]
    assert wrong(a_text(text, amounts=None), ContentKind.AMOUNT_SPLIT)


@pytest.mark.parametrize(
    ("language", "says", "told"),
    [
        ("en", "Reply STOP to opt out", True), ("en", "Please pay", False), ("en", "回复退订", False), ("zh", "拒收请回复R", True),
        ("zh", "Reply STOP", False), ("es", "Responda BAJA", True), ("es", "Reply STOP", False), (None, "拒收请回复R", True),
    ],
)  # fmt: skip
def test_the_way_out_is_told_in_the_language_of_the_text(language: str | None, says: str, told: bool) -> None:
    assert (wrong(a_text(says, language), ContentKind.OPT_OUT) == []) == told


@pytest.mark.parametrize(
    ("language", "subject", "neutral"),
    [
        ("en", "A message about your account with Pay & Loan 500", True),
        ("en", "Your payment is overdue", False),
        ("en", "Your account: CNY 120.50", False),
        ("en", "$5 for you", False),
        ("en", "5 € for you", False),
        ("en", "1204 for you", False),
        ("en", "Two new messages (2)", True),
        ("en", "Your loan", False),
        ("zh", "有关您账户的消息", True),
        ("zh", "您已逾期", False),
        ("zh", "您的50元", False),
        ("es", "Un mensaje sobre su cuenta", True),
        ("es", "Su deuda", False),
        ("fr", "Your debt", False),
    ],
)
def test_a_stranger_reads_neither_a_sum_nor_that_something_is_owed(language: str, subject: str, neutral: bool) -> None:
    text = Text((Part("subject", subject, preview=True), Part("body", "You owe CNY 120.50")), language, "Pay & Loan 500")
    assert (wrong(text, ContentKind.NEUTRAL_PREVIEW) == []) == neutral


@given(st.text(max_size=80), st.sampled_from(sorted(languages())), st.frozensets(st.sampled_from(ContentKind)))
def test_asking_more_never_finds_less(body: str, language: str, asks: frozenset[ContentKind]) -> None:
    text = Text((Part("body", body, preview=True),), language, "Acme", ("CNY 1.00",))
    every = faults(text, frozenset(ContentKind))
    assert set(faults(text, asks)) == {fault for fault in every if fault.kind in asks}


def test_each_jurisdiction_asks_what_its_pack_has() -> None:
    asked = {
        (place, channel, purpose): content_asked(proposed(NOON, channel, purpose), known(jurisdictions=(place,)), PACKS)
        for place, channel, purpose in [
            ("ZZ", "sms", "dunning"), ("US-FED-REGF", "sms", "dunning"), ("US-FED-REGF", "email", "dunning"),
            ("US-FED-REGF", "inbox", "dunning"), ("FR", "email", "dunning"), ("FR", "email", "reminder"), ("BR-SP", "sms", "dunning"),
            ("BR-RJ", "sms", "dunning"),
        ]
    }  # fmt: skip
    base = {ContentKind.IDENTITY, ContentKind.FORBIDDEN_WORDING}
    assert list(asked.values()) == [
        base, base | {ContentKind.OPT_OUT}, base | {ContentKind.OPT_OUT, ContentKind.NEUTRAL_PREVIEW}, base,
        base | {ContentKind.AMOUNT_SPLIT}, base, base | {ContentKind.AMOUNT_SPLIT}, base,
    ]  # fmt: skip


def test_several_jurisdictions_ask_for_all_of_it() -> None:
    asked = content_asked(proposed(NOON, "email"), known(jurisdictions=("FR", "US-FED-REGF")), PACKS)
    assert asked == frozenset(ContentKind)


def test_the_legal_floor_asks_only_what_law_asks() -> None:
    asked = content_asked(proposed(NOON, "email"), known(jurisdictions=("FR",), profile=Profile.LEGAL_FLOOR), PACKS)
    assert asked == {ContentKind.AMOUNT_SPLIT}


def test_a_rule_of_a_later_day_asks_nothing_yet() -> None:
    packs = packs_with("- id: a\n  kind: content\n  since: 2027-01-01\n  asks: [opt_out]")
    asked = [content_asked(proposed(at), known(jurisdictions=("XX",)), packs) for at in (NOON, "2027-01-01T12:00:00+08:00")]
    assert [ContentKind.OPT_OUT in asks for asks in asked] == [False, True]


def test_a_refused_text_is_a_denial_without_an_end_that_cites_its_rule() -> None:
    contact = proposed(NOON)
    bad = decide(replace(contact, content=a_text("you will be arrested")), known(), PACKS)
    assert isinstance(bad, Deny)
    assert (bad.earliest, [(reason.rule, reason.kind) for reason in bad.reasons]) == (None, [("content-base", RuleKind.CONTENT)])
    assert isinstance(decide(replace(contact, content=a_text("please pay")), known(), PACKS), Allow)
    assert isinstance(decide(contact, known(), PACKS), Allow)


def test_a_content_rule_that_asks_nothing_cannot_be_read() -> None:
    with pytest.raises(PackError, match="'asks' is missing"):
        packs_with("- id: a\n  kind: content")
    with pytest.raises(PackError, match="not a valid ContentKind"):
        packs_with("- id: a\n  kind: content\n  asks: [politeness]")
