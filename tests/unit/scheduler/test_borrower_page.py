"""The borrower's page as rendered: complete in every language, without script or external content."""

from __future__ import annotations

import gzip
import re
from base64 import b64encode
from datetime import date
from hashlib import sha256
from string import Formatter

import pytest

from libs.common.contracts.overdue_facts import Amounts
from libs.common.tenant_settings.forms import Brand
from services.scheduler.borrower.acts import Promising
from services.scheduler.borrower.bargain import Bargain, OfferSeen
from services.scheduler.borrower.page import BorrowerPage, Screen, Whole, Wrong
from services.scheduler.borrower.sight import CaseSeen, DebtSeen, PromiseSeen
from services.scheduler.borrower.statement import LineSeen, StatementSeen
from services.scheduler.borrower.wishes import Hours, WishesSeen
from services.scheduler.borrower.words import accepted, tongue_of, tongues
from tests.support.forms import PageSeen

PAGE = BorrowerPage.load()
LENDER = Brand(name="Acme <b>Wallet</b>", contact="help@acme.example")
URL = "https://pay.example/acme?a=1&b=2"
DAY, DUE = date(2026, 11, 1), date(2026, 11, 20)
SIDES = (("due", "interest", DUE, 41250), ("paid", "fee", DUE, -1000), ("waived", "penalty", DUE, -50), ("credit", None, None, -7))
LINES = tuple(LineSeen(n, DAY, *said) for n, said in enumerate(SIDES * 15, start=1))
STATEMENT = StatementSeen("2026-11-24T10:15:00Z", "CNY", LINES, 12)
BARGAIN = Bargain((OfferSeen("o-1", 6, 20, 10, date(2026, 12, 8)), OfferSeen("o-2", None, None, 50, date(2026, 12, 9))), 12)
DEBTS = (
    DebtSeen("LOAN-20001", "cash-loan", date(2026, 11, 20), Amounts(principal=40000, interest=1250, total=41250), URL, "0001"),
    DebtSeen("LOAN-20002", "<i>later</i>", date(2026, 11, 1), Amounts(principal=100000, total=100000), URL, "0002"),
)
CASE = CaseSeen(
    "c-1", "CNY", DEBTS, (PromiseSeen(5000, date(2026, 11, 29)),), date(2026, 11, 24), date(2026, 12, 25), in_doubt=True, bargain=BARGAIN
)
LANGUAGES = sorted(tongues())


def screen(language: str = "en", *, visit: str = "visit") -> Screen:
    return Screen(tongues()[language], LENDER, "token", visit)


def every(language: str) -> dict[str, str]:
    """Every page in a language."""
    tongue, shown = tongues()[language], screen(language)
    wrong = {CASE.case_id: Wrong("promise", "day", tongue.say("needed"), {"day": "<x>", "amount": '"', "note": ""})}
    made = {
        "gate": PAGE.gate(screen(language, visit=""), alert=tongue.say("wrong_many", left=3)),
        "whole": PAGE.whole(shown, Whole((CASE,), done=tongue.say("stop_done"), wrongs=wrong)),
        "paid": PAGE.whole(shown, Whole((CaseSeen("c-1", "CNY", (), (), date.min, date.max, in_doubt=False),))),
        "check": PAGE.check(shown, CASE, Promising(5000, date(2026, 11, 25)), {"amount": "50"}),
        "statement": PAGE.statement(shown, CASE, DEBTS[1], STATEMENT),
        "choice": PAGE.choice(shown, CASE, WishesSeen(None, frozenset({"sms"})), Wrong("wishes", "hours", tongue.say("bad_hours"), {})),
        "chosen": PAGE.choice(
            shown, CASE, WishesSeen(Hours("mon-fri", 8, 20), frozenset()), Wrong("wishes", "use", tongue.say("bad_channels"), {})
        ),
        "gone": PAGE.plain(Screen(tongue), "gone", 404),
        "locked": PAGE.plain(screen(language), "locked", 403),
    }
    return {name: bytes(answer.body).decode() for name, answer in made.items()}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_everything_with_the_same_places(language: str) -> None:
    def places(text: str) -> set[str | None]:
        return {name for _, name, _, _ in Formatter().parse(text) if name is not None}

    english, other = tongues()["en"].says, tongues()[language].says
    assert other.keys() == english.keys()
    assert {key: places(text) for key, text in other.items()} == {key: places(text) for key, text in english.items()}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_says_its_language_and_its_direction(language: str) -> None:
    for html in every(language).values():
        page = PageSeen.of(html)
        assert (page.language, page.direction) == (language, "rtl" if language == "ar" else "ltr")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_needs_no_script_and_nothing_from_elsewhere(language: str) -> None:
    for html in every(language).values():
        page = PageSeen.of(html)
        assert not {"script", "link", "img", "iframe", "object", "video", "svg"} & {tag for tag, _ in page.tags}
        given = [(name, value) for _, attributes in page.tags for name, value in attributes.items()]
        assert not [name for name, _ in given if name.startswith("on") or name in ("style", "src", "action", "formaction")]
        assert {value for name, value in given if name == "href"} <= {URL, "#hard-form-c-1", *(f"?lang={one}" for one in LANGUAGES)}
        assert not re.search(r"url\(|@import", html)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_field_has_a_label_every_id_is_one_and_every_form_is_ours(language: str) -> None:
    for html in every(language).values():
        page = PageSeen.of(html)
        ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
        assert len(ids) == len(set(ids))
        fields = [
            a for tag, a in page.tags if tag in ("input", "textarea", "select") and a.get("type") not in ("hidden", "radio", "checkbox")
        ]
        assert {field["id"] for field in fields} <= {a["for"] for tag, a in page.tags if tag == "label" and "for" in a}
        assert {a["aria-describedby"] for _, a in page.tags if "aria-describedby" in a} <= set(ids)
        assert all(form["key"] for form in page.forms)
        assert [tag for tag, _ in page.tags].count("h1") == 1
        assert {a["method"] for tag, a in page.tags if tag == "form"} <= {"post"}


def test_what_others_have_written_is_text_and_never_a_tag() -> None:
    html = every("en")["whole"]
    assert "Acme &lt;b&gt;Wallet&lt;/b&gt;" in html
    assert "&lt;i&gt;later&lt;/i&gt;" in html
    assert 'value="&lt;x&gt;"' in html
    assert not {"b", "i"} & {tag for tag, _ in PageSeen.of(html).tags}


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_page_shows_the_whole_id_of_a_loan_and_a_page_is_light(language: str) -> None:
    for html in every(language).values():
        assert "LOAN-2000" not in html
        assert len(gzip.compress(html.encode())) < 14_000


@pytest.mark.parametrize("name", ["gate", "gone", "locked"])
def test_what_is_shown_before_the_second_factor_says_nothing_of_any_debt(name: str) -> None:
    html = every("en")[name].lower()
    assert not re.search(r"debt|overdue|loan|owe|\bdue\b|pay|late\b|cny|412", re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL))


def test_a_browser_may_keep_find_and_send_nothing_of_it() -> None:
    headers = PAGE.gate(screen(visit="")).headers
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert "noindex" in headers["x-robots-tag"]
    assert headers["x-content-type-options"] == "nosniff"
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert policy.pop("style-src").startswith("'sha256-")
    assert policy == {"default-src": "'none'", "base-uri": "'none'", "form-action": "'self'", "frame-ancestors": "'none'"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_style_of_every_page_is_the_one_that_its_policy_lets_pass(language: str) -> None:
    policy = PAGE.gate(screen(language)).headers["content-security-policy"]
    for html in every(language).values():
        [style] = re.findall(r"<style>(.*?)</style>", html, flags=re.DOTALL)
        assert f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'" in policy


def test_the_language_asked_for_is_taken_where_there_is_one() -> None:
    assert tongue_of([None, "zh-Hant-TW", "es"]).language == "zh"
    assert tongue_of(["xx", "AR_eg"]).language == "ar"
    assert tongue_of(["xx", None]).language == "en"
    assert tongue_of(["es-MX"]).money(102_000, "MXN") == "MXN 1,020.00"
    assert accepted("es;q=0.8, de;q=0.9, zh , ar;q=x, ;q=1") == ["zh", "de", "es"]
    assert accepted("") == []


def test_a_name_keeps_its_direction_within_arabic() -> None:
    assert "\u2068Acme\u2069" in tongues()["ar"].say("title", lender="Acme")
    assert "\u2068" not in tongues()["es"].say("title", lender="Acme")
