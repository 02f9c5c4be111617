"""Two documents compared, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from services.scheduler.policies.reading import policy_of, understand
from services.scheduler.policies.writing import encode


def normal(source: str) -> Any:
    """Return a document with its defaults written out, so that only differences in meaning show."""
    document = understand(source)
    if document.form is None:
        return document.read.value
    return document.form.model_dump(mode="json", exclude_none=True) if document.faults else encode(policy_of(document.form, 0))


def difference(before: Any, after: Any) -> dict[str, Any]:
    """Return what changed in each step, and in everything outside the steps."""
    old, new = _steps(before), _steps(after)
    changed = [{"id": name, "changes": changes} for name in new if name in old and (changes := list(_changes(old[name], new[name])))]
    return {
        "policy": list(_changes(_head(before), _head(after))),
        "added": [new[name] for name in new if name not in old],
        "removed": [old[name] for name in old if name not in new],
        "changed": changed,
        "moved": _moved(list(old), list(new)),
    }


def _steps(document: Any) -> dict[str, Any]:
    steps = document.get("steps") if isinstance(document, dict) else None
    named = enumerate(steps if isinstance(steps, list) else ())
    return {str(step.get("id", n)) if isinstance(step, dict) else str(n): step for n, step in named}


def _head(document: Any) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "steps"} if isinstance(document, dict) else {}


def _moved(old: list[str], new: list[str]) -> list[str]:
    """Return the steps that changed position among those both have."""
    ours, theirs = [name for name in old if name in new], [name for name in new if name in old]
    return [name for name, other in zip(theirs, ours, strict=True) if name != other]


def _changes(before: Any, after: Any, path: str = "") -> Iterator[dict[str, Any]]:
    if before == after and type(before) is type(after):
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in [*before, *(name for name in after if name not in before)]:
            yield from _changes(before.get(name), after.get(name), f"{path}.{name}" if path else name)
        return
    yield {"path": path, "from": before, "to": after}
