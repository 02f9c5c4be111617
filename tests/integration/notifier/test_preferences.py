"""Borrowers' wishes over HTTP, and in every claim."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx

from libs.common.contracts.catalogue import TASKS
from libs.common.contracts.contact_tasks import PreferencesSet
from tests.integration.notifier.world import MORNING, World, a_world
from tests.support.postgres import Databases

NOT_IN_THE_MORNING = {"no_contact": [{"days": ["mon-fri"], "from": "09:00", "to": "12:00"}]}


async def wish(world: World, borrower: str, wanted: dict[str, Any], if_match: str | None = None) -> httpx.Response:
    headers = {} if if_match is None else {"If-Match": if_match}
    return await world.call("PUT", f"/v1/borrowers/{borrower}/preferences", json=wanted, headers=headers)


async def test_wishes_are_kept_in_versions_with_who_when_and_why(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        nothing = await world.call("GET", "/v1/borrowers/b1/preferences")
        assert (nothing.json()["version"], nothing.headers["etag"], nothing.json()["no_contact"]) == (0, '"0"', [])
        first = await wish(world, "b1", {**NOT_IN_THE_MORNING, "reason": "asked on the phone"})
        assert (first.status_code, first.headers["etag"]) == (200, '"1"')
        await wish(world, "b1", {"channels": {"never": ["email"]}, "language": "es"}, '"1"')
        held = await world.get("/v1/borrowers/b1/preferences")
        assert (held["version"], held["no_contact"], held["channels"], held["language"]) == (
            2,
            [],
            {"never": ["email"], "only": None},
            "es",
        )
        versions = await world.get("/v1/borrowers/b1/preferences/versions", limit="1")
        older = await world.get("/v1/borrowers/b1/preferences/versions", cursor=versions["next"])
        [before] = older["items"]
        assert (before["reason"], before["by"], before["at"]) == ("asked on the phone", "anna", MORNING.isoformat().replace("+00:00", "Z"))


async def test_what_is_chosen_on_the_page_is_kept_once_and_never_over_what_is_newer(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        chosen = PreferencesSet(preference_id="w-1", borrower_id="b1", case_id="c-b1", at=world.clock.now(), never=("sms",))
        for _ in range(2):
            await world.hear(TASKS, "contact.preferences_set.v1", chosen, borrower="b1")
        held = await world.get("/v1/borrowers/b1/preferences")
        assert (held["version"], held["channels"]["never"], held["by"]) == (1, ["sms"], "borrower")
        world.clock.advance(timedelta(minutes=1))
        await wish(world, "b1", {"channels": {"never": ["email"]}}, '"1"')
        await world.hear(TASKS, "contact.preferences_set.v1", chosen, borrower="b1")
        assert (await world.get("/v1/borrowers/b1/preferences"))["channels"]["never"] == ["email"]


async def test_a_writer_who_has_not_seen_what_stands_is_refused(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        await wish(world, "b1", {})
        codes = {428: "precondition_required", 412: "changed_meanwhile"}
        for if_match, status in ((None, 428), ('"0"', 412), ('"2"', 412)):
            refused = await wish(world, "b1", {}, if_match)
            assert (refused.status_code, refused.json()["code"]) == (status, codes[status])
        assert (await wish(world, "b1", {}, '"0"')).headers["etag"] == '"1"'
        assert (await wish(world, "unheard-of", {})).status_code == 404
        assert (await wish(world, "b1", {"no_contact": [{"days": ["never"]}]}, '"1"')).json()["code"] == "invalid_preferences"
        assert (await world.get("/v1/borrowers/b1/preferences"))["version"] == 1
        assert (await wish(world, "b1", {}, "*")).headers["etag"] == '"2"'


async def test_a_message_waits_for_the_end_of_the_hours_the_borrower_does_not_want(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        await world.late_borrower("witness")
        await wish(world, "b1", NOT_IN_THE_MORNING)
        for borrower in ("b1", "witness"):
            await world.request(borrower)
        await world.service.pump()
        assert await world.messages("b1") == []
        assert len(await world.messages("witness")) == 1
        shown = await world.delivery("b1")
        assert (shown["reason"], shown["decisions"][0]["rules"][0]["cite"]) == ("borrower-hours", "borrower's wish")
        await world.pass_to(MORNING + timedelta(hours=2, minutes=30))
        assert len(await world.messages("b1")) == 1


async def test_a_wish_that_is_taken_back_lets_go_at_once_what_waited_for_it(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        await wish(world, "b1", NOT_IN_THE_MORNING)
        await world.request("b1")
        await world.service.pump()
        await wish(world, "b1", {}, '"1"')
        await world.service.pump()
        assert len(await world.messages("b1")) == 1


async def test_a_channel_that_is_not_wanted_leaves_the_next_one_and_the_language_chooses_the_text(databases: Databases) -> None:
    async with a_world(databases) as world:
        for borrower in ("b1", "b2", "b3"):
            await world.late_borrower(borrower, addresses={"sms": f"+861380000{borrower}", "email": f"{borrower}@example.org"})
        await wish(world, "b1", {"channels": {"never": ["sms"]}, "language": "es-MX"})
        await wish(world, "b2", {"channels": {"only": ["email"]}, "language": "fi"})
        await wish(world, "b3", {"channels": {"only": ["letter"]}})
        for borrower in ("b1", "b2", "b3"):
            await world.request(borrower)
        await world.service.pump()
        [first], [second] = await world.messages("b1"), await world.messages("b2")
        assert (first["channel"], second["channel"]) == ("email", "email")
        assert (await world.delivery("b1"))["text"]["locale"] == "es"
        assert (await world.delivery("b2"))["text"]["locale"] == "en"
        assert await world.messages("b3") == []
        assert (await world.delivery("b3"))["reason"] == "borrower-channels"
