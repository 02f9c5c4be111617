"""What a simulation counts: numbers under keys, which can be added in any order, and the resulting report."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Key = tuple[str, ...]


@dataclass(slots=True)
class Tally:
    """Numbers by key; they are only ever combined by adding."""

    numbers: Counter[Key] = field(default_factory=Counter)

    def count(self, *key: str, by: int = 1) -> None:
        """Count something."""
        self.numbers[key] += by

    def add(self, other: Tally) -> None:
        """Add the numbers of another part of the book."""
        self.numbers.update(other.numbers)

    def of(self, kind: str) -> Iterable[tuple[Key, int]]:
        """Return the keys of a kind (without the kind itself) in order, with their numbers."""
        return ((key[1:], number) for key, number in sorted(self.numbers.items()) if key[0] == kind)


@dataclass(frozen=True, slots=True)
class Prices:
    """The price of an SMS part, or of a message on another channel, in millionths of the currency's unit; SMS parts by template."""

    currency: str = ""
    millionths: Mapping[str, int] = field(default_factory=dict)
    sms_parts: Mapping[str, int] = field(default_factory=dict)

    def cost(self, template: str, channel: str, number: int) -> int:
        """Return the cost of this many messages."""
        parts = self.sms_parts.get(template, 1) if channel == "sms" else 1
        return number * parts * self.millionths.get(channel, 0)


def shown(tally: Tally, prices: Prices) -> dict[str, Any]:
    """Return the results of one policy."""
    total = dict(_one(tally, "total"))
    return {
        "borrowers": total.get("borrowers", 0), "cases": total.get("cases", 0), "opened": total.get("opened", 0),
        "cured": total.get("cured", 0), "closed": total.get("closed", 0),
        "contacts": _contacts(tally), "refusals": _refusals(tally), "cost": _cost(tally, prices),
        "uncontacted": _why(tally, "uncontacted"), "never_reached": _why(tally, "never_reached"), "at_end": _why(tally, "at_end"),
        "steps": _steps(tally), "tasks": [{"queue": q, "kind": k, "number": n} for (q, k), n in tally.of("task")],
        "paid": [{"currency": c, "because": why, "number": n, "amount": tally.numbers["paid_amount", c, why]}
                 for (c, why), n in tally.of("paid")],
        "in_doubt": [{"reason": key[0], "number": n} for key, n in tally.of("in_doubt")],
        "other": [{"kind": key[0], "number": n} for key, n in tally.of("other")],
    }  # fmt: skip


def difference(new: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """Return by how much the new result exceeds the old one; equal entries are left out of lists."""
    return {
        "contacts": new["contacts"]["number"] - old["contacts"]["number"],
        "by_channel": _more(new["contacts"]["by_channel"], old["contacts"]["by_channel"]),
        "refusals": _more(_by_rule(new), _by_rule(old)),
        "cost_millionths": new["cost"]["millionths"] - old["cost"]["millionths"],
        "cured": new["cured"] - old["cured"],
        "tasks": sum(task["number"] for task in new["tasks"]) - sum(task["number"] for task in old["tasks"]),
        "uncontacted": new["uncontacted"]["number"] - old["uncontacted"]["number"],
        "never_reached": new["never_reached"]["number"] - old["never_reached"]["number"],
    }


def canonical(value: Any) -> bytes:
    """Return the canonical form of a result."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def hash_of(value: Any) -> str:
    """Return the hash by which a result can be referred to, for example in an approval."""
    return hashlib.sha256(canonical(value)).hexdigest()


def _one(tally: Tally, kind: str) -> Iterable[tuple[str, int]]:
    return ((key[0], number) for key, number in tally.of(kind))


def _contacts(tally: Tally) -> dict[str, Any]:
    days = [{"on": on, "channel": channel, "number": number} for (on, channel), number in tally.of("contact")]
    by_channel: Counter[str] = Counter()
    for (_, channel), number in tally.of("contact"):
        by_channel[channel] += number
    return {"number": sum(by_channel.values()), "by_channel": dict(sorted(by_channel.items())), "days": days}


def _refusals(tally: Tally) -> list[dict[str, Any]]:
    return [{"rule": rule, "nature": nature, "cite": cite, "number": n} for (rule, nature, cite), n in tally.of("refusal")]


def _by_rule(result: Mapping[str, Any]) -> Mapping[str, int]:
    rules: Counter[str] = Counter()
    for row in result["refusals"]:
        rules[row["rule"]] += row["number"]
    return rules


def _cost(tally: Tally, prices: Prices) -> dict[str, Any]:
    by_channel: Counter[str] = Counter()
    for (_, template, channel), number in tally.of("sent"):
        by_channel[channel] += prices.cost(template, channel, number)
    total = sum(by_channel.values())
    return {"currency": prices.currency or None, "millionths": total, "by_channel": {c: n for c, n in sorted(by_channel.items()) if n}}


def _why(tally: Tally, kind: str) -> dict[str, Any]:
    reasons = dict(_one(tally, kind))
    return {"number": sum(reasons.values()), "reasons": reasons}


def _steps(tally: Tally) -> list[dict[str, Any]]:
    """Return what became of each step: requested, allowed or not, sent, and paid after."""
    found: dict[str, dict[str, Any]] = {}
    for (step, what), number in tally.of("step"):
        found.setdefault(step, {"step": step})[what] = number
    for kind in ("failed", "suppressed", "deferred", "cancelled"):
        for (step, reason), number in tally.of(kind):
            found.setdefault(step, {"step": step}).setdefault(f"{kind}_by", {})[reason] = number
    for (step, _, channel), number in tally.of("sent"):
        by = found.setdefault(step, {"step": step}).setdefault("by_channel", {})
        by[channel] = by.get(channel, 0) + number
    return [found[step] for step in sorted(found)]


def _more(new: Mapping[str, int], old: Mapping[str, int]) -> dict[str, int]:
    changed = {name: new.get(name, 0) - old.get(name, 0) for name in sorted({*new, *old})}
    return {name: number for name, number in changed.items() if number}
