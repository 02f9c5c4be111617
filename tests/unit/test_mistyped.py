"""What a person mistypes on the command line or in the environment is refused with a sentence, never with a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from libs.common.db.engine import make_engine
from libs.common.settings import SettingsError, kafka_bootstrap
from services.cli import keys_create
from services.importer.client import connected
from services.posting import day_of
from services.simulating import question_of

NO_TEXT = Path(sys.executable)


def brokers(value: str) -> str:
    return kafka_bootstrap({"DUNWELL_KAFKA_BOOTSTRAP": value})


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (lambda: make_engine("nonsense", application="x"), "one like postgresql://"),
        (lambda: make_engine("mysql://a:secret@b/c", application="x"), "one like postgresql://"),
        (lambda: make_engine("postgresql://a:secret@b:port/c", application="x"), "one like postgresql://"),
        (lambda: brokers("a:b:c"), "must be brokers like 127.0.0.1:9092"),
        (lambda: brokers("kafka://a:1"), "must be brokers like 127.0.0.1:9092"),
        (lambda: connected("nonsense", "k"), "must be an address like http://"),
        (lambda: connected("ftp://x/", "k"), "must be an address like http://"),
        (lambda: connected("http://[::1/", "k"), "cannot be read"),
        (lambda: connected("http://127.0.0.1", "wröng"), "characters that no key has"),
        (lambda: connected("http://127.0.0.1", "two\nlines"), "characters that no key has"),
        (lambda: keys_create("default", "cases:raed"), "no such scope: cases:raed: did you mean 'cases:read'"),
        (lambda: day_of("30.11.2026"), "is not a date like 2026-01-31"),
        (lambda: day_of("9999-12-31"), "lies outside the years"),
        (lambda: day_of("0001-01-01"), "lies outside the years"),
        (lambda: question_of(NO_TEXT, 30, None), "is not UTF-8 text"),
        (lambda: question_of(Path(__file__), 30, NO_TEXT), "is not UTF-8 text"),
    ],
)
def test_it_is_a_sentence_without_what_must_stay_secret(typed: Callable[[], object], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        typed()
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", ["127.0.0.1:9092", "a.example:9092,b.example:9092", "[::1]:9092", "kafka_1", "a, b:1"])
def test_brokers_are_named_with_or_without_a_port(value: str) -> None:
    assert brokers(value) == value
