"""The ledger against a second implementation of the public contract, from the posted documents to the returned state."""

import json
from collections.abc import Sequence
from datetime import date
from random import Random
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.decoding import WalletEvent, stored, structured
from services.ingest.domain.fold import trace
from services.ingest.domain.state import public_state
from services.ingest.reading import Accepted, to_domain, zone_among
from services.ingest.routes.products import ProductForm, line_of
from tests.support.second_ledger_view import answer

from .stories import DAYS, Document, Story, on


def answered(events: Sequence[Document], product: Document, as_of: date) -> dict[str, Any] | None:
    """The ledger's answer: the documents are decoded as they arrive, and then read as they are in the log."""
    read = [structured(json.dumps(event).encode()) for event in events]
    accepted = [
        Accepted(one.source, one.id, one.type, one.time, stored(one.type, one.content)) for one in read if isinstance(one, WalletEvent)
    ]
    assert len(accepted) == len(events)
    line = line_of(msgspec.convert(product, ProductForm, strict=False))
    traced = trace([to_domain(one, zone_among(accepted), line) for one in accepted], line, as_of)
    return public_state(traced, as_of) if traced.book.known else None


@settings(deadline=None, max_examples=250)
@given(chance=st.randoms(use_true_random=True))
def test_the_ledger_answers_what_the_second_reading_of_the_contract_does(chance: Random) -> None:
    story = Story(chance)
    events, product, as_of = story.events(chance.randint(2, 9)), story.product(), date.fromisoformat(on(chance.choice(DAYS)))
    wanted, got = answer(events, product, as_of), answered(events, product, as_of)
    assert wanted == (got if wanted is None or got is None else {name: got[name] for name in wanted}), (as_of, product, events)
