"""What replies wish for: a table over all languages, and what makes no difference."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from libs.common.clock import stopwatch
from services.notifier.domain.wishes import LONGEST, Wish, Words, plain, recognise
from services.notifier.wording import languages

ROWS = Path(__file__).parents[2] / "data" / "replies.yaml"
TABLE = [
    (said, frozenset(Wish(word) for word in wishes.split(" and ") if word != "nothing"))
    for wishes, replies in yaml.safe_load(ROWS.read_text(encoding="utf-8")).items()
    for said in replies
]
MARKS = " \t\n.,;:!?-_*()[]\"'\u2026\u3002\u3001\uff01\uff1f\uff0c\u00b7\u200b\u3000\u00a0\u2764\ufe0f\U0001f64f\U0001f3fd"
Row = tuple[str, frozenset[Wish]]


def heard(said: str) -> frozenset[Wish]:
    return recognise(said, languages())


@pytest.mark.parametrize(("said", "wishes"), TABLE)
def test_a_reply_is_read_for_what_it_wishes(said: str, wishes: frozenset[Wish]) -> None:
    assert heard(said) == wishes


def test_the_table_is_long_enough_and_no_row_says_two_things() -> None:
    assert len(TABLE) >= 150
    by_text: dict[str, set[frozenset[Wish]]] = {}
    for said, wishes in TABLE:
        by_text.setdefault(plain(said), set()).add(wishes)
    assert all(len(found) == 1 for found in by_text.values())


@pytest.mark.parametrize("words", languages(), ids=lambda words: words.language)
def test_every_word_of_every_file_is_heard_for_what_the_file_says(words: Words) -> None:
    assert [(word, wish) for word, wish in words.whole.items() if wish not in heard(word)] == []


@pytest.mark.parametrize(
    "said",
    [
        "\u0405\u0422\u041e\u0420", "ST\u041eP", "S\u0422OP", "STO\u03a1", "ST0P", "5t0p", "St op", "un subscribe",
        "\U0001f182\U0001f183\U0001f17e\U0001f17f", "\U0001f1f8\U0001f1f9\U0001f1f4\U0001f1f5",
    ],
)  # fmt: skip
def test_a_stop_in_letters_that_only_look_like_it_is_one(said: str) -> None:
    """Typed on a keyboard of another script, with a zero, in boxes, or with a typo."""
    assert heard(said) == {Wish.STOP}


@pytest.mark.parametrize(
    "said",
    ["1", "0", "51", "505", "5 1", "\u0421\u0422\u0410\u0420\u0422", "\u044f \u0437\u0430\u043f\u043b\u0430\u0447\u0443", "ye s", "st art"],
)
def test_what_only_looks_like_a_word_permits_nothing(said: str) -> None:
    assert heard(said) - {Wish.START} == set()


@given(row=st.sampled_from(TABLE), before=st.text(MARKS, max_size=5), between=st.text(MARKS, max_size=3), after=st.text(MARKS, max_size=5))
def test_punctuation_and_spaces_change_nothing(row: Row, before: str, between: str, after: str) -> None:
    said = before + row[0].replace(" ", f" {between} ") + after
    assert heard(said) == row[1]


@given(row=st.sampled_from(TABLE), upper=st.lists(st.booleans(), min_size=60, max_size=60), wide=st.booleans())
def test_case_and_width_change_nothing(row: Row, upper: list[bool], *, wide: bool) -> None:
    said = "".join(char.upper() if flag else char for char, flag in zip(row[0].ljust(60), upper, strict=False))
    said = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in said) if wide else said
    assert heard(said) == row[1]


@given(row=st.sampled_from(TABLE), form=st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_the_form_of_accents_changes_nothing(row: Row, form: str) -> None:
    assert heard(unicodedata.normalize(form, row[0])) == row[1]  # type: ignore[arg-type]  # one of its four words


@given(said=st.text(max_size=3000))
def test_any_text_at_all_is_read(said: str) -> None:
    assert heard(said) <= frozenset(Wish)
    assert plain(plain(said)) == plain(said)


def test_a_message_of_many_courtesies_is_read_as_fast_as_another() -> None:
    began = stopwatch()
    assert heard("ok please thanks hi " * 25 + "when" + " ok please thanks hi" * 25) == frozenset()
    assert stopwatch() - began < 2


def test_no_more_is_read_of_a_message_where_its_characters_stand_for_several() -> None:
    assert len(plain("\ufdfa" * LONGEST)) <= LONGEST
