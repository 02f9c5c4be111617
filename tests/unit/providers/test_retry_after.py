"""How long a provider asks us to wait, which it may give as a date."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.notifier.providers import webhook
from services.notifier.providers.http import counted
from tests.unit.providers.values import NOW, an_answer

TEN_PAST = "Tue, 24 Nov 2026 02:10:00 GMT"


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry_after": "17"}, timedelta(seconds=17)),
        ({"retry_after": TEN_PAST}, timedelta(minutes=10)),
        ({"retry_after": TEN_PAST, "date": "Tue, 24 Nov 2026 02:09:00 GMT"}, timedelta(minutes=1)),
        ({"retry_after": TEN_PAST, "date": "Tue, 24 Nov 2026 02:11:00 GMT"}, timedelta()),
        ({"retry_after": TEN_PAST, "date": "now"}, timedelta(minutes=10)),
        ({"retry_after": "Tue, 24 Nov 2026 02:10:00 -0000"}, None),
        ({"retry_after": "Tue, 24 Nov 2026 02:10:00 +99999999999999999999"}, None),
        ({"retry_after": "soon"}, None),
        ({}, None),
    ],
)
def test_a_wait_that_is_a_date_is_counted_by_the_providers_own_clock(headers: dict[str, str], wait: timedelta | None) -> None:
    said = webhook.read(counted(an_answer(429, **headers), NOW))
    assert getattr(said, "retry_after", None) == wait
