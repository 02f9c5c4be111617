"""Simulates a policy file on a running scheduler: shows its progress, then the result as a table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
import yaml
from rich.console import Console
from rich.table import Table

from libs.common.clock import pause
from libs.common.settings import SettingsError
from services.importer.client import connected

LOOK_EVERY_S = 0.5
OVER = frozenset({"done", "failed", "cancelled", "interrupted"})
MOST_RULES = 10


Days = Annotated[int, typer.Option(help="how many days from now, at most 180")]
Url = Annotated[str, typer.Option(help="the scheduler")]
With = Annotated[Path | None, typer.Option("--with", exists=True, dir_okay=False, help="YAML: behaviour, prices, filter, sample ...")]
_ALLOWED = frozenset({"behaviour", "prices", "filter", "sample", "in_flight"})


def question_of(policy: Path, days: int, beside: Path | None) -> dict[str, Any]:
    """Return the request to the scheduler."""
    asked = {} if beside is None else _read_yaml(beside)
    if not isinstance(asked, dict) or (unknown := set(asked) - _ALLOWED):
        raise SettingsError(f"{beside} contains {', '.join(sorted(map(str, unknown))) if isinstance(asked, dict) else 'no keys'}: "
                            f"it may contain {', '.join(sorted(_ALLOWED))}")  # fmt: skip
    return {"document": _read(policy), "mode": "forward", "days": days, **asked}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 text: {error}") from None


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(_read(path))
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not YAML: {error}") from None


async def simulate(question: dict[str, Any], *, url: str, key: str, progress: Callable[[float], None], screen: Console) -> str:
    """Show the result when it is ready, and return the simulation's id and hash; a SettingsError says what was wrong with the request."""
    async with connected(url, key) as client:
        one = await _asked(client, "POST", "v1/simulations", json=question)
        while one["state"] not in OVER:
            done = one["progress"]
            progress(done["done"] / done["total"] if done["total"] else 0.0)
            await pause(asyncio.Event(), LOOK_EVERY_S)
            one = await _asked(client, "GET", f"v1/simulations/{one['simulation_id']}")
    if one["state"] != "done":
        raise RuntimeError(f"simulation {one['simulation_id']} is {one['state']}: {one['reason']}")
    progress(1.0)
    screen.print(table_of(one))
    return f"{one['simulation_id']} {one['hash']}"


def table_of(one: Mapping[str, Any]) -> Table:
    """Return the closing table: the policy, the active version, and the difference."""
    new, old = one["result"], one["result"]["active"]
    table = Table("", "this policy", "active", "difference", title=f"{new['policy']}, {new['from'][:10]} to {new['to'][:10]}")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, of in _ROWS.items():
        table.add_row(name, *_three(of(new), of(old)))
    for channel in sorted({*new["contacts"]["by_channel"], *old["contacts"]["by_channel"]}):
        table.add_row(f"  by {channel}", *_three(*(r["contacts"]["by_channel"].get(channel, 0) for r in (new, old))))
    table.add_section()
    for rule in _rules(new, old)[:MOST_RULES]:
        table.add_row(f"refused by {rule}", *_three(*(_refused(r).get(rule, 0) for r in (new, old))))
    if new["cost"]["currency"]:
        amounts = [Decimal(r["cost"]["millionths"]) / 1_000_000 for r in (new, old)]
        table.add_row(f"cost, {new['cost']['currency']}", *(f"{a:.2f}" for a in (*amounts, amounts[0] - amounts[1])))
    return table


_ROWS: Mapping[str, Callable[[Mapping[str, Any]], int]] = {
    "borrowers": lambda result: int(result["borrowers"]),
    "messages": lambda result: int(result["contacts"]["number"]),
    "tasks for people": lambda result: sum(task["number"] for task in result["tasks"]),
    "cured": lambda result: int(result["cured"]),
    "never reached": lambda result: int(result["never_reached"]["number"]),
    "uncontacted": lambda result: int(result["uncontacted"]["number"]),
}


def _three(new: int, old: int) -> tuple[str, str, str]:
    return f"{new:,}", f"{old:,}", f"{new - old:+,}"


def _rules(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[str]:
    """Return the rules that refused contacts, the most frequent first."""
    refused, before = _refused(new), _refused(old)
    return sorted({*refused, *before}, key=lambda rule: (-refused.get(rule, 0), -before.get(rule, 0), rule))


def _refused(result: Mapping[str, Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in result["refusals"]:
        found[row["rule"]] = found.get(row["rule"], 0) + row["number"]
    return found


async def _asked(client: httpx.AsyncClient, method: str, path: str, **body: Any) -> dict[str, Any]:
    try:
        answer = await client.request(method, path, **body)
    except httpx.TransportError as error:
        raise SettingsError(f"the scheduler at {client.base_url} does not answer: {error or type(error).__name__}") from error
    if answer.status_code not in {200, 202}:
        raise SettingsError(_refusal(answer))
    found: dict[str, Any] = answer.json()
    return found


def _refusal(answer: httpx.Response) -> str:
    """Return why it was refused, with the place of every fault of the document."""
    try:
        problem = answer.json()
    except ValueError:
        return f"the scheduler answers {answer.status_code}: {answer.text[:300]}"
    faults = [f"\n  line {f['line']}, {f['path'] or 'document'}: {f['error']}, {f['detail']}" for f in problem.get("errors", ())]
    return f"the scheduler answers {answer.status_code}: {problem.get('detail', '')}{''.join(faults)}"
