"""What is read can be put back as it was read, and what is a list can be read in pages."""

from __future__ import annotations

from typing import Any

from tests.e2e.world import World, borrower, late_loan

POLICY = {"policy": "ours", "steps": [{"id": "gentle", "at": {"day": 1}, "send": {"template": "gentle", "channels": ["sms"]}}]}
WHOLE = ("/v1/feed/", "/v1/reports/", "/v1/overdue-report", "/v1/cases/{case_id}/steps")
"""Lists with places of their own, and tables that are read as a whole."""


async def put_back(world: World, path: str) -> Any:
    """Put what a path shows; return what is answered."""
    read = await world.http.get(path)
    headers = {"If-Match": read.headers["ETag"]} if "ETag" in read.headers else {}
    answer = await world.http.put(path, json=read.json(), headers=headers)
    assert answer.status_code == 200, (path, answer.text)
    return answer.json()


async def test_what_is_read_can_be_put_back_as_it_was_read(world: World) -> None:
    await world.publish(*borrower("B1"), late_loan("L1", "B1"))
    await world.let_pass(seconds=5)
    scheduler, notifier = "/scheduler/v1", "/notifier/v1"
    made = await world.http.post(f"{scheduler}/policies", json=POLICY)
    await world.http.put(f"{scheduler}/assignments", json={"items": [{"policy": "built-in"}]}, headers={"If-Match": "*"})
    await world.http.put(f"{notifier}/routes", json={"items": [{"channel": "sms", "provider": "sandbox"}]})
    put = [await put_back(world, f"/{service}/v1/settings") for service in ("ingest", "scheduler", "notifier")]
    assert [one["version"] for one in put] == [1, 1, 1]
    assert (await put_back(world, made.headers["Location"]))["errors"] == []
    assert [one["policy"]["name"] for one in (await put_back(world, f"{scheduler}/assignments"))["items"]] == ["built-in"]
    assert [one["provider"] for one in (await put_back(world, f"{notifier}/routes"))["items"]] == ["sandbox"]
    assert (await put_back(world, f"{notifier}/borrowers/B1/preferences"))["version"] == 1


async def test_every_list_is_read_in_pages(world: World) -> None:
    lists = 0
    for service in ("ingest", "scheduler", "notifier"):
        said = await world.get(f"/{service}/openapi.json")
        for path, operation in ((path, one["get"]) for path, one in said["paths"].items() if "get" in one and not path.startswith(WHOLE)):
            shown = operation["responses"]["200"].get("content", {}).get("application/json", {}).get("schema", {})
            schema = said["components"]["schemas"][shown["$ref"].rpartition("/")[2]] if "$ref" in shown else shown
            if "items" in schema.get("properties", {}):
                lists += 1
                assert {"limit", "cursor"} <= {parameter["name"] for parameter in operation["parameters"]}, path
    assert lists > 30
    packs, read, cursor = await world.get("/notifier/v1/compliance/packs"), list[Any](), None
    while cursor is not None or not read:
        page = await world.get("/notifier/v1/compliance/packs", limit=17, **({"cursor": cursor} if cursor else {}))
        read, cursor = read + page["items"], page["next"]
    assert read == packs["items"]
