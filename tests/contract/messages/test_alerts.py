"""The alert rules use metrics that the services expose, the catalogue lists all of them, and each alert leads to instructions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.built import built_platform

ROOT = Path(__file__).parents[3]
OPERATIONS = (ROOT / "docs/operations.md").read_text()
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())["groups"] for rule in group["rules"]
]


async def shown() -> dict[str, frozenset[str]]:
    """Return the metrics of all services, by the names used in queries, with their labels."""
    found: dict[str, frozenset[str]] = {}
    async with built_platform() as (platform, _):
        for service in platform.services:
            registry = service.app.state.metrics.registry
            for collector, names in registry._collector_to_names.items():
                found |= dict.fromkeys(names, frozenset(getattr(collector, "_labelnames", ())))
            found |= {family.name: frozenset() for family in registry.collect() if family.name.startswith("process_")}
    return found


async def test_every_alert_asks_for_metrics_and_labels_that_there_are() -> None:
    found = await shown()
    assert len(RULES) > 20
    for rule in RULES:
        asked = re.findall(r"\b((?:dunwell|process)_\w+)(?:\{([^}]*)\})?", rule["expr"])
        assert asked or "up{" in rule["expr"], rule
        for name, matchers in asked:
            own = {"job", "instance", *found[name], *(["le"] if name.endswith("_bucket") else [])}
            grouped = {label for group in re.findall(r"by \(([^)]*)\)", rule["expr"]) for label in group.split(", ")}
            assert {*re.findall(r"(\w+)=~?\"", matchers), *grouped} <= own, (rule["alert"], name)
            assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= {*own, "job"}, rule["alert"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_leads_to_what_is_to_be_done(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert re.search(rf"^(\*\*)?{re.escape(rule['annotations']['runbook'])}", OPERATIONS, re.MULTILINE)
    assert rule["expr"].count("(") == rule["expr"].count(")")


async def test_the_catalogue_lists_every_metric_and_no_other() -> None:
    table = OPERATIONS.partition("| metric | labels |")[2].partition("\n\n")[0]
    listed = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    named = {re.sub(r"_(bucket|count|sum|created)$", "", name.removeprefix("dunwell_")) for name in await shown() if "dunwell_" in name}
    assert listed == {f"{name}_total" if f"{name}_total" in named else name for name in named}
