"""Turns the planner's policy into the equivalent document."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, assert_never

from services.scheduler.domain.dealing import Terms
from services.scheduler.domain.policy import (
    DOSSIER,
    USUAL_PRIORITY,
    ApprovalRule,
    Emit,
    Flag,
    HandOver,
    Needs,
    OnUnknown,
    Policy,
    Send,
    Step,
    Work,
)
from services.scheduler.domain.promises import PROMISE_TERMS, PromiseTerms
from services.scheduler.domain.trials import Experiment


def encode(policy: Policy) -> dict[str, Any]:
    """Return a policy as its document's value; defaults are left out where readers do not need them."""
    wanted = policy.applies_to
    limits = {"products": sorted(wanted.products), "segments": sorted(wanted.segments), "jurisdictions": sorted(wanted.jurisdictions)}
    applies = {name: value for name, value in limits.items() if value}
    return {
        "policy": policy.name,
        **({"applies_to": applies} if applies else {}),
        "consolidate": policy.consolidate.value,
        "entry": policy.entry.value,
        "cure": {"when": "clear", "cool_down": written(policy.cool_down)},
        **({} if policy.promises == PROMISE_TERMS else {"promises": _promised(policy.promises)}),
        "steps": [_step(step) for step in policy.steps],
        **({"experiment": _experiment(policy.experiment)} if policy.experiment is not None else {}),
    }


def _experiment(experiment: Experiment) -> dict[str, Any]:
    (name, version), rails = experiment.challenger, experiment.stop_when
    limits = {"complaint_rate": rails.complaint_rate, "opt_out_rate": rails.opt_out_rate}
    stated = {limit: rate for limit, rate in limits.items() if rate is not None}
    stops = {"stop_when": {**stated, "at_least": rails.at_least}} if stated else {}
    return {"challenger": f"{name}@{version}", "share": experiment.share, "salt": experiment.salt, **stops}


def written(duration: timedelta) -> str:
    """Return `7d`, `4h` or `30m`."""
    minutes = int(duration.total_seconds()) // 60
    for unit, size in (("d", 1440), ("h", 60)):
        if minutes % size == 0:
            return f"{minutes // size}{unit}"
    return f"{minutes}m"


def _promised(terms: PromiseTerms) -> dict[str, int]:
    return {
        "max_open": terms.most_open, "max_days": terms.most_days, "max_broken": terms.most_broken, "grace_days": terms.grace_days,
        "tolerance_percent": terms.tolerance_percent,
    }  # fmt: skip


def _step(step: Step) -> dict[str, Any]:
    at: dict[str, Any] = {step.clock.value: step.day}
    if step.between is not None:
        at["between"] = step.between
    head: dict[str, Any] = {"id": step.id, "at": at}
    if step.when is not None:
        head["when"] = step.when.source
    if step.flag is not None:
        head["flag"] = step.flag
    if step.after is not None:
        head["after"] = {"step": step.after.step, "days": step.after.days}
    if step.offer is not None:
        head["offer"] = terms_written(step.offer)
    return {**head, **_needs(step.needs), **_action(step)}


def _needs(needs: Needs) -> dict[str, Any]:
    asked = [name for name, wanted in (("evidence", needs.documents), ("approval", needs.approval)) if wanted]
    document: dict[str, Any] = {"requires": asked} if asked else {}
    if needs.documents not in {(), (DOSSIER,)}:
        document["evidence"] = list(needs.documents)
    if (rule := needs.approval) is not None and rule != ApprovalRule():
        by = "another_person" if rule.another_person else "any_person"
        document["approval"] = {"queue": rule.queue, "sla": written(rule.within), "by": by}
    return document


def terms_written(terms: Terms) -> dict[str, Any]:
    """Return an offer's terms in document form."""
    limits = {
        "max_months": terms.max_months, "waive_interest_percent": terms.waive_interest_percent,
        "waive_fees_percent": terms.waive_fees_percent,
    }  # fmt: skip
    return {"kind": terms.kind, **{n: v for n, v in limits.items() if v is not None}, "valid_for": written(terms.valid_for)}


def _action(step: Step) -> Mapping[str, Any]:
    match step.action:
        case Send():
            return {"send": _send(step.action)}
        case Work(queue, kind, within, again_after, priority, script):
            again: dict[str, Any] = {} if again_after is None else {"again_after": written(again_after)}
            said = {} if script is None else {"script": script}
            urgent = {} if priority == USUAL_PRIORITY else {"priority": priority}
            return {"task": {"queue": queue, "kind": kind, "sla": written(within), **again, **urgent, **said}}
        case Flag(name):
            return {"flag": name}
        case Emit(event):
            return {"emit": event}
        case HandOver(to):
            return {"hand_over": {"to": to}}
        case Terms():
            return {"offer": terms_written(step.action)}
        case _:
            assert_never(step.action)


def _send(send: Send) -> dict[str, Any]:
    document: dict[str, Any] = {"template": send.template, "channels": list(send.channels), "purpose": send.purpose}
    if send.fallback_after is not None:
        document["fallback_after"] = written(send.fallback_after)
    if send.on_unknown is not OnUnknown.HOLD:
        document["on_unknown"] = send.on_unknown.value
    return document
