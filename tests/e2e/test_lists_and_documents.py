"""A document can be put back as it was read, and every list can be read in pages."""

from __future__ import annotations

from typing import Any

from tests.e2e.world import World, borrower, late_loan

POLICY = {"policy": "ours", "steps": [{"id": "gentle", "at": {"day": 1}, "send": {"template": "gentle", "channels": ["sms"]}}]}
WHOLE = ("/v1/feed/", "/v1/reports/", "/v1/overdue-report", "/v1/cases/{case_id}/steps")
"""Lists with their own cursors, and tables that are read as a whole."""


async def put_back(world: World, path: str) -> Any:
    """Put back what a path shows, and return the answer."""
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
    await world.http.post("/scheduler/v1/policies", json=POLICY)
    for path, limit in (("notifier/v1/compliance/packs", 17), ("notifier/v1/templates/gentle/versions", 2), ("scheduler/v1/policies", 1)):
        await assert_read_in_pages(world, f"/{path}", limit)


async def assert_read_in_pages(world: World, path: str, limit: int) -> None:
    """Read a list page by page, none longer than allowed, and find the same items as in the whole list."""
    read, cursor, pages = list[Any](), dict[str, str](), 0
    while cursor or not pages:
        page = await world.get(path, limit=limit, **cursor)
        assert len(page["items"]) <= limit, path
        read, cursor, pages = read + page["items"], {"cursor": page["next"]} if page["next"] else {}, pages + 1
    assert pages > 1
    assert read == (await world.get(path))["items"]
