"""How the forms of the borrower's page are read."""

from __future__ import annotations

import contextlib
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.overdue_facts import Amounts
from libs.common.money import written
from services.scheduler.borrower.acts import READERS, Promising, Saying, Stopping, UnclearError, amount_of
from services.scheduler.borrower.sight import CaseSeen, DebtSeen
from services.scheduler.domain.matters import MatterKind

TODAY = date(2026, 11, 24)
LAST = TODAY + timedelta(days=31)
DEBTS = tuple(DebtSeen(f"L{n}", "cash-loan", TODAY, Amounts(principal=5000, total=5000), None, f"L{n}") for n in (1, 2))
CASE = CaseSeen("c-1", "CNY", DEBTS, (), TODAY, LAST, in_doubt=False, promised=2000)


@given(
    amount=st.integers(0, 10**15),
    currency=st.sampled_from(["CNY", "USD", "JPY", "KWD", "IQD", "CLF"]),
    locale=st.sampled_from(["en", "es", "zh", "ar", "de_CH", "fr"]),
)
def test_an_amount_is_read_back_as_any_page_writes_it(amount: int, currency: str, locale: str) -> None:
    assert amount_of(written(amount, currency, locale), currency) == amount


@pytest.mark.parametrize(
    ("typed", "currency", "minor"),
    [
        ("120.50", "CNY", 12050), ("120,50", "CNY", 12050), ("1,204", "CNY", 120400), ("1.204,5", "CNY", 120450), ("12.", "CNY", 1200),
        ("1\u00a0204,50", "CNY", 120450), ("\u0661\u0662\u066b\u0665", "CNY", 1250), ("1.204", "KWD", 1204), ("1,204", "JPY", 1204),
        ("12.5.3", "CNY", None), ("1,2,3", "CNY", None), ("-5", "CNY", None), ("1e3", "CNY", None),
        (".", "CNY", None), ("abc", "CNY", None),
        ("9" * 40, "CNY", None), ("5.123", "CNY", 512300), ("0.5", "JPY", None),
    ],
)  # fmt: skip
def test_amounts_are_read_as_people_type_them(typed: str, currency: str, minor: int | None) -> None:
    assert amount_of(typed, currency) == minor


@given(st.text(max_size=40))
def test_whatever_is_typed_is_an_amount_or_none(typed: str) -> None:
    found = amount_of(typed, "CNY")
    assert found is None or 0 <= found <= 10**15


@given(day=st.dates(TODAY - timedelta(days=60), TODAY + timedelta(days=60)), amount=st.integers(0, 20_000))
def test_a_promise_is_read_within_what_the_page_said_before_and_never_beyond(day: date, amount: int) -> None:
    form = {"day": day.isoformat(), "amount": written(amount, "CNY", "en")}
    if TODAY <= day <= LAST and 0 < amount <= CASE.promisable:
        assert READERS["promise"](form, CASE) == Promising(amount, day)
    else:
        with pytest.raises(UnclearError):
            READERS["promise"](form, CASE)


def test_a_promise_without_an_amount_is_one_of_all_that_is_not_promised_yet() -> None:
    assert READERS["promise"]({"day": "2026-11-25"}, CASE) == Promising(8000, date(2026, 11, 25))


def test_hardship_needs_no_words_and_a_dispute_does() -> None:
    assert READERS["hard"]({}, CASE) == Saying(MatterKind.HARDSHIP, None)
    assert READERS["dispute"]({"note": " paid it ", "loan": "2"}, CASE) == Saying(MatterKind.DISPUTE, "paid it", "L2")
    assert READERS["dispute"]({"note": "all of it", "loan": ""}, CASE) == Saying(MatterKind.DISPUTE, "all of it", None)
    for name in ("dispute", "complain"):
        with pytest.raises(UnclearError):
            READERS[name]({"note": " \0 "}, CASE)


@pytest.mark.parametrize("loan", ["L2", "3", "0", "-1", "x"])
def test_only_a_debt_that_is_shown_can_be_disputed(loan: str) -> None:
    with pytest.raises(UnclearError) as refused:
        READERS["dispute"]({"note": "not mine", "loan": loan}, CASE)
    assert refused.value.field == "loan"


@pytest.mark.parametrize(("which", "channels"), [("sms", ("sms",)), ("app", ("push", "inbox")), ("all", ("sms", "email", "push", "inbox"))])
def test_messages_stop_on_the_channels_that_are_named(which: str, channels: Any) -> None:
    assert READERS["stop"]({"which": which}, CASE) == Stopping(channels)


@given(st.sampled_from(sorted(READERS)), st.dictionaries(st.sampled_from(["day", "amount", "note", "loan", "which"]), st.text()))
def test_whatever_a_form_holds_it_is_read_or_said_not_to_be(name: str, form: dict[str, str]) -> None:
    with contextlib.suppress(UnclearError):
        READERS[name](form, CASE)
