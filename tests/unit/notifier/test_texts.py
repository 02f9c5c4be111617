"""What messages say."""

from __future__ import annotations

from datetime import date

import pytest

from libs.common.contracts.overdue_facts import NextDue
from services.notifier.domain.message import Draft, draft, language_of
from services.notifier.rendering import RenderError, Templates
from tests.unit.notifier.values import a_fact

TEMPLATES = Templates.load()


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("template", ["due_soon", "gentle", "firm", "final"])
@pytest.mark.parametrize("channel", ["sms", "email", "push", "inbox"])
def test_every_template_names_the_sum_in_every_language(language: str, template: str, channel: str) -> None:
    reminder = template == "due_soon"
    debt = a_fact(overdue=0, next_due=NextDue(n=1, due_on=date(2026, 11, 27), total=12050)) if reminder else a_fact()
    text = TEMPLATES.render(draft(template, language, [debt], reminder=reminder), name="Li Wei", channel=channel)
    assert "CNY 120.50" in text.body
    assert ("2026-11-27" if reminder else "2026-11-23") in text.body
    assert "Li Wei" in text.body
    assert (text.subject is None) == (channel == "sms")
    assert "\n" not in (text.subject or "")


def test_two_debts_are_summed_and_each_is_named() -> None:
    text = TEMPLATES.render(draft("gentle", "en", [a_fact("a"), a_fact("b", 1)], reminder=False), name=None, channel="sms")
    assert "CNY 120.51" in text.body
    assert "CNY 0.01 due on" in text.body
    assert not text.body.startswith("Dear")


@pytest.mark.parametrize(("currency", "amount"), [("JPY", "JPY 12,050"), ("KWD", "KWD 12.050"), ("USD", "USD 120.50")])
def test_money_is_written_with_the_digits_of_its_currency(currency: str, amount: str) -> None:
    assert draft("gentle", "en", [a_fact(currency=currency)], reminder=False).total == amount


def test_sums_of_two_currencies_are_not_added() -> None:
    assert draft("gentle", "en", [a_fact("a"), a_fact("b", currency="USD")], reminder=False).total == "CNY 120.50 + USD 120.50"


@pytest.mark.parametrize(
    ("locale", "language"), [("zh-CN", "zh"), ("zh_TW", "zh"), ("en", "en"), ("fr-FR", "en"), (None, "en"), ("x", "en")]
)
def test_a_locale_without_templates_reads_english(locale: str | None, language: str) -> None:
    assert language_of(locale) == language


def test_a_template_that_is_not_there_is_an_error() -> None:
    with pytest.raises(RenderError, match="no template"):
        TEMPLATES.render(Draft("no-such", "en", (), ""), name=None, channel="sms")


def test_a_name_is_never_read_as_a_template() -> None:
    text = TEMPLATES.render(draft("gentle", "en", [a_fact()], reminder=False), name="{{ 7 * 7 }}", channel="sms")
    assert "{{ 7 * 7 }}" in text.body
