"""The life of a policy version over HTTP."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import yaml
from sqlalchemy import text

from libs.common import auth
from services.scheduler.domain.chain import broken_at
from services.scheduler.store import policies
from tests.integration.scheduler.policy_world import DOCUMENT, OTHER_KEY, YAML, Office
from tests.integration.scheduler.world import World

PATH = "/policies/gentle-ones/versions/1"


@pytest.fixture
async def office(world: World) -> Office:
    made = Office(world)
    await made.hire(OTHER_KEY, "ola")
    return made


async def test_a_draft_is_kept_as_it_was_written_and_read_as_yaml_or_json(office: Office) -> None:
    made = await office.draft(f"# ours\n{DOCUMENT}")
    assert (made.status_code, made.headers["Location"]) == (201, f"/v1{PATH}")
    assert (made.json()["state"], made.json()["author"], made.json()["errors"]) == ("draft", "mei", [])
    assert [one["error"] for one in made.json()["warnings"]] == ["texts_unknown"], "no notifier is beside this scheduler"
    as_yaml = await office.ask("GET", PATH, headers={"Accept": "application/yaml"})
    assert as_yaml.text == f"# ours\n{DOCUMENT}"
    as_json = await office.ask("GET", PATH)
    assert as_json.json()["steps"] == yaml.safe_load(DOCUMENT)["steps"]
    assert as_json.headers["ETag"] == as_yaml.headers["ETag"] == made.headers["ETag"]


async def test_a_draft_may_have_errors_and_cannot_be_submitted_with_them(office: Office) -> None:
    made = await office.draft(DOCUMENT.replace("day: 7", "day: soon"))
    assert [(one["line"], one["path"]) for one in made.json()["errors"]] == [(5, "steps[1].at.day")]
    refused = await office.ask("POST", f"{PATH}:submit")
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_policy")
    assert refused.json()["errors"] == made.json()["errors"]


async def test_of_two_who_rewrite_a_draft_at_once_one_is_told_to_read_again(office: Office) -> None:
    tag = (await office.draft()).headers["ETag"]
    texts = [DOCUMENT.replace("day: 7", f"day: {day}") for day in (5, 6)]
    answers = await asyncio.gather(
        *(
            office.ask("PUT", PATH, content=text, headers={**YAML, "If-Match": tag}, key=key)
            for text, key in zip(texts, (None, OTHER_KEY), strict=True)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412]
    won = next(n for n, answer in enumerate(answers) if answer.status_code == 200)
    stored = await office.ask("GET", PATH, headers={"Accept": "application/yaml"})
    assert stored.text == texts[won]
    assert stored.headers["ETag"] == answers[won].headers["ETag"] != tag


async def test_a_draft_is_not_rewritten_blindly_and_a_submitted_one_not_at_all(office: Office) -> None:
    tag = (await office.draft()).headers["ETag"]
    assert (await office.ask("PUT", PATH, content=DOCUMENT, headers=YAML)).status_code == 428
    other = await office.ask("PUT", PATH, content=DOCUMENT.replace("gentle-ones", "others"), headers={**YAML, "If-Match": tag})
    assert other.status_code == 422
    submitted = await office.ask("POST", f"{PATH}:submit")
    late = await office.ask("PUT", PATH, content=DOCUMENT, headers={**YAML, "If-Match": submitted.headers["ETag"]})
    assert (late.status_code, late.json()["code"]) == (409, "wrong_state")


async def test_neither_its_writers_nor_its_submitter_nor_a_service_approves(office: Office) -> None:
    tag = (await office.draft()).headers["ETag"]
    await office.hire("dw_eva", "eva")
    await office.hire("dw_ivo", "ivo")
    await office.hire("dw_robot", None)
    await office.hire("dw_clerk", "clerk", scopes=frozenset({"cases:read", "policies:write"}))
    assert (await office.ask("PUT", PATH, content=DOCUMENT, headers={**YAML, "If-Match": tag}, key="dw_eva")).status_code == 200
    assert (await office.ask("POST", f"{PATH}:approve", key=OTHER_KEY)).status_code == 409, "it was not submitted"
    await office.ask("POST", f"{PATH}:submit", key="dw_ivo")
    for key, code in (
        (None, "own_work"),
        ("dw_eva", "own_work"),
        ("dw_ivo", "own_work"),
        ("dw_robot", "forbidden"),
        ("dw_clerk", "forbidden"),
    ):
        refused = await office.ask("POST", f"{PATH}:approve", key=key)
        assert (refused.status_code, refused.json()["code"]) == (403, code), key
    assert (await office.ask("POST", f"{PATH}:activate")).status_code == 409, "nobody approved it"
    approved = await office.ask("POST", f"{PATH}:approve", key=OTHER_KEY, json={"comment": "fine"})
    assert (approved.json()["state"], approved.json()["decided_by"], approved.json()["comment"]) == ("approved", "ola", "fine")


async def test_a_rejected_version_goes_no_further_and_the_next_one_is_another(office: Office) -> None:
    await office.draft()
    await office.ask("POST", f"{PATH}:submit")
    assert (await office.ask("POST", f"{PATH}:reject", key=OTHER_KEY, json={"comment": "too harsh"})).json()["state"] == "rejected"
    assert (await office.ask("POST", f"{PATH}:activate")).json()["code"] == "wrong_state"
    assert (await office.draft()).json()["version"] == 2


async def test_a_version_is_active_from_its_moment_on(office: Office) -> None:
    assert await office.activated() == 1
    moment = office.world.clock.now() + timedelta(hours=2)
    assert await office.activated(effective_at=moment.isoformat()) == 2

    async def states() -> list[str]:
        return [item["state"] for item in (await office.ask("GET", "/policies", params={"name": "gentle-ones"})).json()["items"]]

    assert await states() == ["active", "approved"]
    assert [one["version"] for one in (await office.ask("GET", PATH)).json()["coming"]] == [2]
    for version in (1, 2):
        refused = await office.ask("POST", f"/policies/gentle-ones/versions/{version}:retire")
        assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    for withdrawn in ([moment.isoformat().replace("+00:00", "Z")], None):
        answered = (await office.ask("POST", "/policies/gentle-ones/versions/2:withdraw")).json()
        assert (answered.get("withdrawn"), answered.get("code")) == (withdrawn, None if withdrawn else "nothing_coming")
    assert (await office.ask("GET", PATH)).json()["coming"] == []
    assert await office.activated(effective_at=moment.isoformat()) == 3
    office.world.clock.move_to(moment)
    assert await states() == ["approved", "approved", "active"]
    assert (await office.ask("POST", f"{PATH}:retire")).json()["state"] == "retired"
    past = await office.ask("POST", "/policies/gentle-ones/versions/2:activate", json={"effective_at": "2026-01-01T00:00:00Z"})
    assert (past.status_code, past.json()["code"]) == (422, "invalid_request")


async def test_other_tenants_see_nothing_of_it(office: Office) -> None:
    await office.activated()
    await office.assign({"policy": "gentle-ones"})
    await office.hire("dw_elsewhere", "kai", tenant="elsewhere")
    ask = office.ask
    for path in (PATH, f"{PATH}/diff?against=1", "/policies/gentle-ones/history"):
        assert (await ask("GET", path, key="dw_elsewhere")).status_code == 404, path
    assert (await ask("GET", "/assignments/history", key="dw_elsewhere")).json() == {"items": [], "next": None}
    for verb in ("submit", "approve", "reject", "activate", "withdraw", "retire"):
        assert (await ask("POST", f"{PATH}:{verb}", key="dw_elsewhere")).status_code == 404, verb
    assert (await ask("PUT", PATH, key="dw_elsewhere", content=DOCUMENT, headers={**YAML, "If-Match": "*"})).status_code == 404
    listed = (await ask("GET", "/policies", key="dw_elsewhere")).json()["items"]
    assert [item["policy"] for item in listed] == ["built-in"]
    assert (await ask("GET", "/assignments", key="dw_elsewhere")).json()["items"] == []
    mine = await ask("POST", "/policies", key="dw_elsewhere", content=DOCUMENT, headers=YAML)
    assert mine.json()["version"] == 1


async def test_versions_are_compared_step_by_step(office: Office) -> None:
    await office.draft()
    await office.draft(DOCUMENT.replace("day: 7", "day: 5").replace("id: call", "id: phone").replace("7d", "3d"))
    found = (await office.ask("GET", "/policies/gentle-ones/versions/2/diff", params={"against": "1"})).json()
    assert found["policy"] == [{"path": "cure.cool_down", "from": "7d", "to": "3d"}]
    assert found["changed"] == [{"id": "firm", "changes": [{"path": "at.day", "from": 7, "to": 5}]}]
    assert ([step["id"] for step in found["added"]], [step["id"] for step in found["removed"]]) == (["phone"], ["call"])
    same = (await office.ask("GET", f"{PATH}/diff", params={"against": "gentle-ones@1"})).json()
    assert (same["policy"], same["added"], same["removed"], same["changed"], same["moved"]) == ([], [], [], [], [])
    built_in = await office.ask("GET", f"{PATH}/diff", params={"against": "built-in@1"})
    assert "due-soon" in [step["id"] for step in built_in.json()["removed"]]


async def test_every_change_is_in_the_chain_and_tampering_breaks_it(office: Office) -> None:
    await office.activated()
    await office.assign({"policy": "gentle-ones", "products": ["cash-loan"]})
    items = (await office.ask("GET", "/policies/gentle-ones/history")).json()["items"]
    assert [(one["action"], one["by"]) for one in items] == [
        ("drafted", "mei"), ("submitted", "mei"), ("approved", "ola"), ("activated", "mei"),
    ]  # fmt: skip
    assert [one["previous"] for one in items[1:]] == [one["hash"] for one in items[:-1]]

    async def broken(chain: str = "gentle-ones") -> int | None:
        async with office.world.engine.begin() as conn:
            last = await policies.hold(conn, "default", chain)
            return broken_at(await policies.links(conn, "default", chain), last=(last.seq, last.hash))

    async def change(statement: str) -> None:
        async with office.world.engine.begin() as conn:
            await conn.execute(text(statement))

    assert await broken() is None
    assert await broken("~assignments") is None
    await change("update scheduler.policy_audit set by = 'mei' where action = 'approved'")
    assert await broken() == 3
    await change("update scheduler.policy_audit set by = 'ola' where action = 'approved'")
    assert await broken() is None
    await change("delete from scheduler.policy_audit where action = 'activated'")
    assert await broken() == 4, "the last one is missing"


async def test_assignments_name_active_policies_and_are_put_with_if_match(office: Office) -> None:
    assert (await office.ask("PUT", "/assignments", json={"items": []})).status_code == 428
    unknown = await office.assign({"policy": "gentle-ones"})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "no_active_version")
    await office.activated()
    done = await office.assign({"policy": "gentle-ones", "products": ["cash-loan"]}, {"policy": "built-in"})
    assert [item["policy"] for item in done.json()["items"]] == [{"name": "gentle-ones", "version": 1}, {"name": "built-in", "version": 1}]
    stale = await office.ask("PUT", "/assignments", json={"items": []}, headers={"If-Match": '"0"'})
    assert (stale.status_code, stale.headers["ETag"]) == (412, '"1"')
    segments = await office.assign({"policy": "gentle-ones", "segments": ["VIP 1", "returning"]})
    assert segments.json()["items"][0]["segments"] == ["VIP 1", "returning"]
    assert (await office.assign({"policy": "gentle-ones", "segment": "vip"})).status_code == 422


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 422), (b"\xff", 400), (b"a: \x00", 400), (b"[1, 2]", 422), (b"policy: 7", 422), (b"policy: Big", 422),
     (b"policy: built-in", 422),
     (b"policy: ~x", 422), (b"x" * 70_000, 413), (b"policy: a\npolicy: b", 422), (b'{"policy": "gentle-ones"}', 201)],
)  # fmt: skip
async def test_what_is_no_document_is_refused(office: Office, body: bytes, status: int) -> None:
    refused = await office.ask("POST", "/policies", content=body)
    assert refused.status_code == status, refused.text


async def test_validating_keeps_nothing_and_the_schema_is_served(office: Office) -> None:
    text = DOCUMENT.replace("sms, email", "smoke")
    found: Any = (await office.ask("POST", "/policies:validate", content=text, headers=YAML)).json()
    assert [(one["line"], one["column"], one["path"], one["error"]) for one in found["errors"]] == [
        (line, text.splitlines()[line - 1].index("smoke") + 1, f"steps[{n}].send.channels[0]", "invalid") for n, line in enumerate((4, 5))
    ]
    night = DOCUMENT.replace("10:00-11:30", "23:00-24:00")
    warned = (await office.ask("POST", "/policies:validate", content=night, params={"jurisdictions": "ZZ"})).json()
    assert [(one["line"], one["error"]) for one in warned["warnings"]] == [
        (1, "texts_unknown"), (4, "never_let_out"), (5, "never_let_out"),
    ]  # fmt: skip
    assert len((await office.ask("GET", "/policies")).json()["items"]) == 1
    schema = await office.ask("GET", "/policies/schema")
    assert schema.json()["properties"]["steps"]["maxItems"] == 100
    await office.hire("dw_reader", "rea", scopes=frozenset(auth.SCOPES) - {"policies:write"})
    assert (await office.ask("POST", "/policies:validate", content=DOCUMENT, key="dw_reader")).status_code == 403
