"""What messages say."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, date, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.overdue_facts import Amounts, NextDue, OverdueFact
from libs.common.tenant_settings.forms import Brand
from libs.compliance import ContentKind, load_packs
from services.notifier.domain.message import Draft, Lender, Saying, TextRef, draft
from services.notifier.domain.segments import BASIC, EXTENDED, segments
from services.notifier.domain.tenant import TenantSettings
from services.notifier.publishing import Publisher, Trial
from services.notifier.rendering import Compiled, ContentError, RenderError, Source, compiled
from services.notifier.samples import EXAMPLE
from services.notifier.texts import Shelf, Texts
from tests.unit.notifier.values import a_fact

TEXTS = Texts.load()
PACKS = load_packs()
ACME = Lender("Acme", "help@acme.example")
NAMES = ("due_soon", "gentle", "firm", "offer", "bureau_notice", "final")
CONFIRMATIONS = ("opt_out_confirmed",)
"""These name no debt."""
LOCALES = ("en", "zh", "es")
CHANNELS = ("sms", "email", "push", "inbox")
NOW = datetime(2026, 11, 30, 4, tzinfo=UTC)


def a_draft(*debts: OverdueFact, locale: str = "en", reminder: bool = False, asks: frozenset[ContentKind] = frozenset()) -> Draft:
    return draft(debts or [a_fact()], Saying(ACME, locale, reminder=reminder, asks=asks))


def a_shelf(own: dict[tuple[str, tuple[str, str, str]], Compiled | None] | None = None, **settings: TenantSettings) -> Shelf:
    return Shelf(TEXTS.shipped, own or {}, settings)


def shipped(name: str, locale: str, channel: str) -> Compiled:
    return TEXTS.shipped[name, locale, channel].text


def a_text(body: str, locale: str = "en", channel: str = "inbox", subject: str | None = "Hello", version: int = 1) -> Compiled:
    return compiled(Source(body, subject if channel != "sms" else None), TextRef("gentle", locale, channel, version))


def test_what_is_shipped_is_read_once_and_what_is_kept_of_tenants_is_nobody_else_s() -> None:
    assert Texts.load().shipped is TEXTS.shipped
    assert Texts.load()._kept is not TEXTS._kept


def test_every_name_is_shipped_in_every_language_for_every_channel() -> None:
    assert set(TEXTS.shipped) == set(itertools.product(NAMES + CONFIRMATIONS, LOCALES, CHANNELS))


@pytest.mark.parametrize("place", sorted(TEXTS.shipped), ids="-".join)
def test_a_shipped_text_passes_what_any_jurisdiction_asks_of_it(place: tuple[str, str, str]) -> None:
    one = TEXTS.shipped[place]
    publisher = Publisher(None, None, TEXTS, PACKS)  # type: ignore[arg-type]  # judging reads neither database nor clock
    assert publisher.judge(Trial(one.source, one.text.ref, one.purpose, None, ACME), NOW) == []


@pytest.mark.parametrize("place", sorted(place for place in TEXTS.shipped if place[2] != "push" and place[0] in NAMES), ids="-".join)
def test_a_shipped_text_names_sum_date_borrower_and_lender(place: tuple[str, str, str]) -> None:
    one = TEXTS.shipped[place]
    debt = a_fact(next_due=NextDue(n=1, due_on=date(2026, 11, 27), total=12050))
    reminder = one.purpose == "reminder"
    text = one.text.render(a_draft(debt, locale=place[1], reminder=reminder), name="Li Wei")
    written = "CNY 120,50" if place[1] == "es" else "CNY 120.50"
    assert all(word in text.body for word in (written, "2026-11-27" if reminder else "2026-11-23", "Li Wei", "Acme"))
    assert (text.subject is None) == (place[2] == "sms")
    assert "  " not in text.body.replace("\n", "")
    assert "\n\n\n" not in text.body


@pytest.mark.parametrize("name", NAMES + CONFIRMATIONS)
@pytest.mark.parametrize("locale", ["en", "es"])
def test_a_shipped_sms_needs_no_dear_alphabet(name: str, locale: str) -> None:
    asks = frozenset({ContentKind.AMOUNT_SPLIT, ContentKind.OPT_OUT})
    text = shipped(name, locale, "sms").render(a_draft(locale=locale, asks=asks), name=None).body
    assert not set(text) - (BASIC | EXTENDED)


def test_a_shipped_push_says_no_sum_and_no_name() -> None:
    for name, locale in itertools.product(NAMES, LOCALES):
        text = shipped(name, locale, "push").render(a_draft(locale=locale), name="Li Wei")
        assert "120" not in f"{text.subject} {text.body}"
        assert "Li Wei" not in f"{text.subject} {text.body}"


def test_two_debts_are_summed_and_each_is_named() -> None:
    text = shipped("gentle", "en", "sms").render(a_draft(a_fact("a"), a_fact("b", 1)), name=None)
    assert "CNY 120.51" in text.body
    assert "CNY 0.01 due on" in text.body
    assert "Dear" not in text.body


def test_forty_debts_fit_into_an_sms_and_are_counted() -> None:
    text = shipped("gentle", "en", "sms").render(a_draft(*(a_fact(f"l-{n}") for n in range(40))), name=None)
    assert "for 40 loans" in text.body


def test_a_split_is_named_where_it_is_asked_for_and_only_there() -> None:
    debt = msgspec.structs.replace(a_fact(), overdue=Amounts(principal=10000, interest=2000, fee=50, total=12050))
    split = a_draft(debt, asks=frozenset({ContentKind.AMOUNT_SPLIT}))
    assert "principal CNY 100.00, interest CNY 20.00, fees CNY 0.50" in shipped("firm", "en", "email").checked(split, named=False).text.body
    assert "principal" not in shipped("firm", "en", "email").render(a_draft(debt), name=None).body


@pytest.mark.parametrize(("currency", "amount"), [("JPY", "JPY 12,050"), ("KWD", "KWD 12.050"), ("USD", "USD 120.50")])
def test_money_is_written_with_the_digits_of_its_currency(currency: str, amount: str) -> None:
    assert a_draft(a_fact(currency=currency)).total == amount


def test_money_is_written_as_the_locale_of_the_text_has_it() -> None:
    assert a_draft(a_fact(overdue=12050000), locale="es-ES").total == "CNY 120.500,00"


def test_sums_of_two_currencies_are_not_added() -> None:
    assert a_draft(a_fact("a"), a_fact("b", currency="USD")).total == "CNY 120.50 + USD 120.50"


@pytest.mark.parametrize(
    ("locale", "default", "found"),
    [
        ("zh-CN", None, "zh"), ("zh_TW", None, "zh"), ("en", None, "en"), ("fr-FR", None, "en"), (None, None, "en"), ("x", None, "en"),
        ("fr", "es-MX", "es"), (None, "zh", "zh"), ("es", "zh", "es"), ("fr", "it", "en"),
    ],
)  # fmt: skip
def test_a_reader_gets_the_nearest_language_there_is(locale: str | None, default: str | None, found: str) -> None:
    shelf = a_shelf(acme=TenantSettings(default_locale=default))
    assert shelf.find("acme", "gentle", "sms", locale=locale).ref.locale == found


def test_the_nearer_locale_wins_and_in_one_locale_the_tenants_own_text() -> None:
    hant, own = a_text("繁 {{ lender }}", "zh-Hant"), a_text("简 {{ lender }}", "zh")
    shelf = a_shelf({("acme", ("gentle", "zh-Hant", "inbox")): hant, ("acme", ("gentle", "zh", "inbox")): own})
    assert shelf.find("acme", "gentle", "inbox", locale="zh-Hant-TW") is hant
    assert shelf.find("acme", "gentle", "inbox", locale="zh-Hans-CN") is own
    assert shelf.find("other", "gentle", "inbox", locale="zh-Hant-TW").ref.version == 0
    assert shelf.find("acme", "gentle", "inbox", locale="es").ref.version == 0


def test_a_text_that_is_not_there_is_an_error() -> None:
    with pytest.raises(RenderError, match="no template"):
        a_shelf().find("acme", "no-such", "sms", locale="en")


def test_a_text_that_a_release_does_not_allow_any_more_parks_what_needs_it() -> None:
    with pytest.raises(RenderError, match="no longer allowed"):
        a_shelf({("acme", ("gentle", "en", "inbox")): None}).find("acme", "gentle", "inbox", locale="en")


def test_a_name_is_never_read_as_a_template() -> None:
    text = shipped("gentle", "en", "sms").render(a_draft(), name="{{ 7 * 7 }}")
    assert "{{ 7 * 7 }}" in text.body


def test_a_name_is_escaped_in_html_and_not_in_plain_text() -> None:
    mail = compiled(Source("{{ lender }} {{ name }}", "s", "<p>{{ lender }} {{ name }}</p>"), TextRef("x", "en", "email", 1))
    text = mail.render(a_draft(), name="<script>&")
    assert text.html == "<p>Acme &lt;script&gt;&amp;</p>"
    assert text.body == "Acme <script>&"


def test_a_subject_is_one_line() -> None:
    assert a_text("x", subject="{{ name }}").render(a_draft(), name="a\r\nBcc: b@c.example").subject == "a Bcc: b@c.example"


def test_a_text_longer_than_its_channel_takes_is_an_error() -> None:
    with pytest.raises(RenderError, match="1 to 1530"):
        a_text("{% for debt in debts %}" + "x" * 100 + "{% endfor %}", channel="sms").render(a_draft(*[a_fact()] * 16), name=None)


def test_a_variable_that_the_policy_did_not_give_is_an_error() -> None:
    text = a_text("{{ variables.months }} months")
    with pytest.raises(RenderError, match="months"):
        text.render(a_draft(), name=None)
    assert text.render(draft([a_fact()], Saying(ACME, "en", variables={"months": 3})), name=None).body == "3 months"


def test_what_the_rules_refuse_is_an_error_that_says_where() -> None:
    with pytest.raises(ContentError) as refused:
        a_text("Acme: {{ variables.threat }}").checked(
            draft(
                [a_fact()],
                Saying(ACME, "en", asks=frozenset({ContentKind.FORBIDDEN_WORDING}), variables={"threat": "you will be arrested"}),
            ),
            named=False,
        )
    assert [(fault.part, fault.excerpt) for fault in refused.value.faults] == [("body", "arrested")]


def test_a_tenant_is_named_by_its_brand_else_by_its_id() -> None:
    shelf = a_shelf(acme=TenantSettings(brand=Brand(name="Acme Wallet", contact="1-800")))
    assert (shelf.lender("acme"), shelf.lender("other").name, shelf.lender("default").name) == (
        Lender("Acme Wallet", "1-800"),
        "other",
        "Dunwell",
    )


WITH_ROOM = sorted(place for place in TEXTS.shipped if place[2] in ("email", "inbox") and place[0] in NAMES)
WORDS = st.text("Acme ", min_size=1, max_size=60).filter(str.strip)


@pytest.mark.parametrize("place", WITH_ROOM, ids="-".join)
def test_a_shipped_mail_and_in_app_message_carries_the_link_where_there_is_one(place: tuple[str, str, str]) -> None:
    one, plain = TEXTS.shipped[place].text, a_draft(locale=place[1], reminder=place[0] == "due_soon")
    said = one.render(msgspec.structs.replace(plain, link=EXAMPLE), name="Li Wei").body
    assert len(re.findall(rf"{re.escape(EXAMPLE)}(?=\s|$)", said)) == 1
    assert "\n\n\n" not in said
    assert "https" not in one.render(plain, name="Li Wei").body


@given(place=st.tuples(st.sampled_from(NAMES), st.sampled_from(LOCALES)), names=st.tuples(WORDS, st.none() | WORDS),
       debts=st.integers(1, 5), host=st.text("abc", min_size=1, max_size=60))  # fmt: skip
def test_a_link_makes_no_part_more_of_a_shipped_sms(
    place: tuple[str, str], names: tuple[str, str | None], debts: int, host: str
) -> None:  # fmt: skip
    (name, locale), (lender, reader) = place, names
    facts = [a_fact(loan_id=f"L{n}") for n in range(debts)]
    plain = draft(facts, Saying(Lender(lender), locale, reminder=name == "due_soon"))
    text, link = shipped(name, locale, "sms"), f"https://{host}.example/b/{'A' * 32}"
    with_link, without = (text.render(one, name=reader).body for one in (msgspec.structs.replace(plain, link=link), plain))
    assert len(segments(with_link).parts) <= len(segments(without).parts)
    assert with_link == without or re.search(rf"{re.escape(link)}(?=\s|$)", with_link)


def test_a_shipped_sms_with_room_carries_the_link_and_a_tenant_s_own_one_always_does() -> None:
    linked = msgspec.structs.replace(a_draft(), link=EXAMPLE)
    assert EXAMPLE in shipped("gentle", "en", "sms").render(linked, name=None).body
    assert EXAMPLE not in shipped("due_soon", "en", "sms").render(linked, name=None).body
    own = a_text("a" * 150 + " {{ link }}", channel="sms")
    assert own.render(linked, name=None).body.endswith(EXAMPLE)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Ann\r\n\nCall 0900 now\u2028\t!", "Ann Call 0900 now !"),
        ("a\0b", "a b"),
        ("\u202eAnn", "Ann"),
        ("\u2067علي\u2069", "علي"),
        ("क्\u200dष", "क्\u200dष"),
    ],
)
def test_a_name_stays_in_its_place_whatever_its_owner_has_put_into_it(name: str, shown: str) -> None:
    assert f"Dear {shown}, we" in shipped("gentle", "en", "sms").render(a_draft(), name=name).body


def test_a_text_finished_when_its_reader_s_name_is_known_is_as_if_made_at_once_and_may_not_grow_too_long() -> None:
    linked = msgspec.structs.replace(a_draft(), link=EXAMPLE)
    said = "{% if name %}{{ name }}, hello{% else %}hello{% endif %} {{ link }}"
    other = ("{{ name | upper }}", "{{ name or 'you' }}", "{% if name == 'Li' %}Li{% else %}you{% endif %}")
    own = [compiled(Source(one, "{{ name }}!", f"<p>{one}</p>"), TextRef("x", "en", "email", 1)) for one in (said, *other)]
    assert [one.only_says_the_name for one in own] == [True, False, False, False]
    for text, name in itertools.product([shipped("gentle", "en", "sms"), *own], ["Li", "<Wei> & " + "Li " * 20 + "Ж", "N. N.", None]):
        made = text.render(linked, name=name)
        forms = [text.checked(linked, named=True)] + ([text.checked(linked, named=False)] if name is None else [])
        assert [text.finished(form, linked, name=name) for form in forms] == [made] * len(forms)
    with pytest.raises(RenderError, match="longer than 200"):
        own[0].finished(own[0].checked(linked, named=True), linked, name="x" * 200)


@pytest.mark.parametrize("name", ["", " ", "\n\u202e"])
def test_a_name_of_which_nothing_can_be_shown_is_none(name: str) -> None:
    text = shipped("gentle", "en", "sms")
    assert text.render(a_draft(), name=name) == text.render(a_draft(), name=None)
