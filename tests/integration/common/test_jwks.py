"""The keys of an identity provider: asked for over real HTTP, kept, and asked for again within bounds."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from libs.common.clock import DrivenClock
from libs.common.jwks import ASKED_AGAIN, KEPT, Tokens, judging
from libs.common.settings import SettingsError, TokenSettings
from tests.support.issuing import TRUST, Issuer, published

NOW = datetime(2026, 11, 24, 10, 15, tzinfo=UTC)


@dataclass
class Door:
    """Who judges tokens, the issuer whose they are, and a hand on the clock."""

    issuer: Issuer
    clock: DrivenClock
    tokens: Tokens

    async def opens(self, kid: str) -> bool:
        """Say whether a fresh token signed with this key is believed."""
        return await self.tokens.bearer(self.issuer.token(self.clock.now(), kid)) is not None

    async def opens_for(self, token: str) -> bool:
        return await self.tokens.bearer(token) is not None


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    issuer, clock = Issuer({"one": "RS256"}), DrivenClock(NOW)
    async with published(issuer) as url, judging(TokenSettings(TRUST, url), clock) as tokens:
        assert tokens is not None
        yield Door(issuer, clock, tokens)


async def test_keys_are_asked_for_when_the_first_token_comes_and_then_kept(door: Door) -> None:
    assert door.issuer.asked == 0
    assert [await door.opens("one") for _ in range(3)] == [True] * 3
    assert door.issuer.asked == 1


async def test_many_who_come_at_once_wait_for_one_answer(door: Door) -> None:
    assert await asyncio.gather(*[door.opens("one") for _ in range(20)]) == [True] * 20
    assert door.issuer.asked == 1


async def test_a_new_key_is_believed_when_a_token_names_it_and_the_issuer_is_asked_no_more_often_than_the_bound(door: Door) -> None:
    await door.opens("one")
    door.issuer.keys = {"one": "RS256", "two": "ES256"}
    assert not await door.opens("two")
    assert door.issuer.asked == 1, "it was asked just before"
    door.clock.advance(ASKED_AGAIN)
    assert await asyncio.gather(*[door.opens("two") for _ in range(20)]) == [True] * 20
    assert await door.opens("one")
    assert door.issuer.asked == 2


async def test_a_flood_of_unknown_keys_asks_the_issuer_once_in_a_while(door: Door) -> None:
    await door.opens("one")
    stranger = Issuer({f"k{number}": "EdDSA" for number in range(5)})
    for _ in range(4):
        door.clock.advance(ASKED_AGAIN / 4)
        for kid in stranger.keys:
            assert not await door.opens_for(stranger.token(door.clock.now(), kid))
    assert door.issuer.asked == 2


async def test_a_withdrawn_key_is_forgotten(door: Door) -> None:
    door.issuer.keys["two"] = "EdDSA"
    assert await door.opens("two")
    token = door.issuer.token(NOW + KEPT, "two")
    del door.issuer.keys["two"]
    door.clock.advance(KEPT)
    assert await door.opens("one")
    assert not await door.opens_for(token)


@pytest.mark.parametrize(("status", "body"), [(500, None), (302, None), (200, b"{"), (200, b'{"keys": []}'), (200, b" " * 300_000)])
async def test_an_issuer_that_fails_leaves_the_keys_that_were_had_and_is_asked_again(door: Door, status: int, body: bytes | None) -> None:
    await door.opens("one")
    door.issuer.status, door.issuer.body = status, body
    for _ in range(3):
        door.clock.advance(KEPT)
        assert await door.opens("one")
        assert await door.opens("one")
    assert door.issuer.asked == 4
    door.issuer.status, door.issuer.body = 200, None
    door.issuer.keys["two"] = "ES256"
    door.clock.advance(ASKED_AGAIN)
    assert await door.opens("two")


async def test_without_any_answer_nobody_is_let_in_until_there_is_one(door: Door) -> None:
    door.issuer.status = 503
    assert not await door.opens("one")
    door.issuer.status = 200
    assert not await door.opens("one")
    door.clock.advance(ASKED_AGAIN)
    assert await door.opens("one")


async def test_nobody_who_listens_is_a_failure_like_any_other() -> None:
    clock, issuer = DrivenClock(NOW), Issuer()
    async with judging(TokenSettings(TRUST, "http://127.0.0.1:1/certs"), clock) as tokens:
        assert tokens is not None
        assert await tokens.bearer(issuer.token(NOW)) is None


async def test_a_clock_that_goes_back_does_not_keep_new_keys_out() -> None:
    issuer = Issuer({"one": "RS256"})
    async with published(issuer) as url:
        ahead, behind = DrivenClock(NOW + timedelta(hours=1)), DrivenClock(NOW)
        async with judging(TokenSettings(TRUST, url), ahead) as tokens:
            assert tokens is not None
            assert await tokens.bearer(issuer.token(ahead.now(), "one"))
            tokens.clock, issuer.keys["two"] = behind, "ES256"
            assert await tokens.bearer(issuer.token(NOW, "two"))


async def test_a_file_is_read_at_the_start_and_again_when_a_token_names_a_new_key(tmp_path: Path) -> None:
    issuer, clock, path = Issuer({"one": "RS256"}), DrivenClock(NOW), tmp_path / "jwks.json"
    path.write_bytes(issuer.document)
    async with judging(TokenSettings(TRUST, path), clock) as tokens:
        assert tokens is not None
        path.unlink()
        assert await tokens.bearer(issuer.token(NOW, "one")), "it was read before"
        issuer.keys["two"] = "EdDSA"
        other = tmp_path / "new"
        other.write_bytes(issuer.document)
        os.replace(other, path)  # noqa: PTH105  # as a volume of an orchestrator changes: in one step
        assert await tokens.bearer(issuer.token(NOW, "two"))


@pytest.mark.parametrize("holds", [None, b"", b'{"keys": []}', b"{"])
async def test_a_file_without_keys_is_told_at_the_start(tmp_path: Path, holds: bytes | None) -> None:
    path = tmp_path / "jwks.json"
    if holds is not None:
        path.write_bytes(holds)
    with pytest.raises(SettingsError, match="DUNWELL_JWT_JWKS_FILE"):
        async with judging(TokenSettings(TRUST, path), DrivenClock(NOW)):
            pass


async def test_where_nothing_is_set_nobody_judges() -> None:
    async with judging(None, DrivenClock(NOW)) as tokens:
        assert tokens is None
