"""The dossier of a case, from all three services, checked offline by the script that we publish."""

from __future__ import annotations

import importlib.util
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import pytest

from libs.common import auth
from services.scheduler.elsewhere import Asking, Elsewhere, NoAnswerError
from tests.e2e.world import World, borrower, late_loan

CHECKER = Path(__file__).parents[2] / "examples" / "check_dossier.py"
OTHER = {"Authorization": "Bearer dunwell-dev-2"}
POLICY = """\
policy: grave-ones
steps:
  - {id: hello, at: {day: 1}, send: {template: gentle, channels: [sms]}}
  - {id: legal, at: {day: 3}, requires: [evidence, approval], task: {queue: legal, kind: letter}}
"""


async def begun(world: World) -> str:
    """A case under this policy whose legal step is due, and its path."""
    written = await world.http.post("/scheduler/v1/policies", content=POLICY, headers={"Content-Type": "application/yaml"})
    assert written.status_code == 201, written.text
    for verb, headers in (("submit", {}), ("approve", OTHER), ("activate", {})):
        done = await world.http.post(f"/scheduler/v1/policies/grave-ones/versions/1:{verb}", headers=headers)
        assert done.status_code == 200, done.text
    assigned = {"items": [{"policy": "grave-ones"}]}
    assert (await world.http.put("/scheduler/v1/assignments", json=assigned, headers={"If-Match": '"0"'})).status_code == 200
    await world.publish(*borrower("B1"), late_loan("L1", "B1", days=1))
    await world.let_pass(days=2)
    return f"/scheduler/v1/cases/{(await world.case('B1'))['case_id']}"


def checked(path: Path, *more: str) -> tuple[int, str]:
    """What the script prints when run as anyone would: isolated from installed packages."""
    ran = subprocess.run(
        [sys.executable, "-I", "-S", str(CHECKER), str(path), *more], capture_output=True, text=True, check=False, timeout=60
    )
    return ran.returncode, ran.stdout + ran.stderr


async def test_a_dossier_is_sealed_approved_and_checked_off_line_and_any_change_shows(world: World, tmp_path: Path) -> None:
    path = await begun(world)
    sealed = await world.http.post(f"{path}/evidence:seal?format=zip", json={"reference": "archive/dossier-1"})
    assert sealed.status_code == 200, sealed.text
    await world.quiet()
    approved = await world.http.post(f"{path}/steps/legal:approve", headers=OTHER)
    assert approved.status_code == 200, approved.text
    await world.quiet()
    kinds = [task["kind"] for task in (await world.get("/scheduler/v1/tasks", state="open"))["items"]]
    assert kinds == ["letter"]
    as_json = await world.http.get(f"{path}/evidence")
    digest, archive, document = sealed.headers["Dossier-SHA256"], tmp_path / "dossier.zip", tmp_path / "dossier.json"
    archive.write_bytes(sealed.content)
    document.write_bytes(as_json.content)
    assert checked(archive, digest)[0] == 0, checked(archive, digest)
    assert checked(document, as_json.headers["Dossier-SHA256"])[0] == 0, checked(document)
    assert checked(document, digest)[0] == 1, "the later dossier is not the one that was sealed"
    files = json.loads(as_json.content)["files"]
    [statement] = [json.loads(text) for name, text in files.items() if name.startswith("statement")]
    [contact], [delivery] = json.loads(files["contacts.json"]), json.loads(files["deliveries.json"])
    assert statement["loan_id"] == "L1"
    assert contact["decision"]["packs"]
    assert delivery["attempts"][0]["receipt"] is not None or delivery["attempts"][0]["result"] == "accepted"
    assert [one["step"] for one in json.loads(files["approvals.json"])] == ["legal"]
    for name in files:
        changed = {**json.loads(as_json.content), "files": {**files, name: files[name].replace("1", "2", 1) + " "}}
        document.write_text(json.dumps(changed))
        assert checked(document)[0] == 1, name


async def test_a_change_of_the_policys_history_shows_even_under_a_new_manifest(world: World, tmp_path: Path) -> None:
    made = await world.http.get(f"{await begun(world)}/evidence?format=zip")
    with zipfile.ZipFile(io.BytesIO(made.content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    history = json.loads(files["policy-history.json"])
    assert [link["action"] for link in history] == ["drafted", "submitted", "approved", "activated"]
    history[2]["by"] = "nobody"
    spec = importlib.util.spec_from_file_location("check_dossier", CHECKER)
    assert spec is not None
    assert spec.loader is not None
    check_dossier = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(check_dossier)
    assert check_dossier.check_chain(history) == ["the policy's history is broken at change 3"]
    assert check_dossier.check_contacts({**files, "timeline.json": b"[]"}) != []


async def test_a_dossier_without_an_answer_of_another_service_says_so_and_is_no_evidence(world: World, tmp_path: Path) -> None:
    path = await begun(world)
    async with world.platform.engine.begin() as conn:
        await auth.remove_key(conn, "ingest", "dunwell-dev")
    world.clock.advance(auth.CACHED_FOR)
    made = await world.http.get(f"{path}/evidence")
    body = made.json()
    assert (body["complete"], made.headers["Dossier-Complete"]) == (False, "false")
    assert [one["file"] for one in json.loads(body["manifest"])["missing"]] == ["statement-001.json"]
    sealed = await world.http.post(f"{path}/evidence:seal", json={"reference": "archive/1"})
    assert (sealed.status_code, sealed.json()["code"]) == (409, "dossier_incomplete")
    attached = {"document": "dossier", "reference": "archive/1", "sha256": "a" * 64}
    refused = await world.http.post(f"{path}/evidence", json=attached)
    assert (refused.status_code, refused.json()["code"]) == (409, "seal_it")
    document = tmp_path / "dossier.json"
    document.write_bytes(made.content)
    code, said = checked(document)
    assert code == 1
    assert "INCOMPLETE: statement-001.json: ingest" in said


async def test_a_service_that_cannot_be_reached_or_has_no_address_is_named() -> None:
    asking = Asking("default", "Bearer x")
    async with httpx.AsyncClient(base_url="http://127.0.0.1:9") as nobody:
        elsewhere = Elsewhere({"notifier": nobody})
        for service in ("notifier", "ingest"):
            with pytest.raises(NoAnswerError, match=service):
                await elsewhere.read(service, "/v1/deliveries", asking)
