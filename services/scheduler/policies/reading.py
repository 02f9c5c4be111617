"""Turns a document into the policy the planner runs, or into a list of every fault with its position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from services.scheduler.domain.dealing import Terms
from services.scheduler.domain.policy import (
    DOSSIER,
    NOTHING_NEEDED,
    Action,
    After,
    AppliesTo,
    ApprovalRule,
    Clock,
    Consolidate,
    Emit,
    Entry,
    Flag,
    HandOver,
    Needs,
    OnUnknown,
    Policy,
    Send,
    Step,
    Work,
)
from services.scheduler.domain.promises import PromiseTerms
from services.scheduler.domain.trials import Experiment, Guardrails
from services.scheduler.policies.conditions import ConditionError, condition
from services.scheduler.policies.forms import (
    AppliesToForm,
    ExperimentForm,
    OfferForm,
    PolicyForm,
    PromisesForm,
    SendForm,
    StepForm,
    seconds_of,
)
from services.scheduler.policies.places import Fault, Path, Read, read
from services.scheduler.policies.saying import said_of

_CODES = {"missing": "missing", "extra_forbidden": "unknown_key"}


@dataclass(frozen=True, slots=True)
class Document:
    """A document as far as it can be understood: the form if it is well-formed, and what is wrong."""

    read: Read
    form: PolicyForm | None
    faults: tuple[Fault, ...]

    @property
    def name(self) -> str | None:
        """Return the policy's name, if it can be read."""
        value = self.read.value
        return value["policy"] if isinstance(value, dict) and isinstance(value.get("policy"), str) else None


class NotAPolicyError(ValueError):
    """A stored document cannot be understood; this never holds for a submitted version."""


def understand(text: str) -> Document:
    """Read a document and find all that is wrong with it."""
    found = read(text)
    if found.faults:
        return Document(found, None, tuple(found.faults))
    try:
        form = PolicyForm.model_validate(found.value)
    except ValidationError as error:
        return Document(found, None, tuple(sorted(_shape_faults(found, error), key=_by_place)))
    faults = [found.fault(path, code, detail) for path, code, detail in _inconsistent(form)]
    return Document(found, form, tuple(sorted(faults, key=_by_place)))


def decode(value: Any, version: int) -> Policy:
    """Return the policy of a document that had no faults."""
    try:
        return policy_of(PolicyForm.model_validate(value), version)
    except (ValidationError, ConditionError) as error:
        raise NotAPolicyError(str(error)) from error


def policy_of(form: PolicyForm, version: int) -> Policy:
    """Return the planner's policy."""
    wanted = form.applies_to
    return Policy(
        name=form.policy,
        version=version,
        steps=tuple(_step(step) for step in form.steps),
        cool_down=seconds_of(form.cure.cool_down),
        applies_to=_applies(wanted) if wanted else AppliesTo(),
        promises=_promised(form.promises),
        entry=Entry(form.entry),
        experiment=_experiment(form.experiment) if form.experiment is not None else None,
        consolidate=Consolidate(form.consolidate),
    )


def _applies(form: AppliesToForm) -> AppliesTo:
    return AppliesTo(frozenset(form.products or ()), frozenset(form.jurisdictions or ()), frozenset(form.segments or ()))


def _promised(form: PromisesForm) -> PromiseTerms:
    return PromiseTerms(form.max_open, form.max_days, form.max_broken, form.grace_days, form.tolerance_percent)


def _experiment(form: ExperimentForm) -> Experiment:
    name, _, version = form.challenger.rpartition("@")
    rails = form.stop_when
    return Experiment(
        (name, int(version)), form.share, form.salt,
        Guardrails() if rails is None else Guardrails(rails.complaint_rate, rails.opt_out_rate, rails.at_least),
    )  # fmt: skip


def _step(form: StepForm) -> Step:
    at, action = form.at, _action(form)
    plain = at.day_past_due is not None
    return Step(
        id=form.id, day=at.day_past_due if at.day_past_due is not None else at.day or 0, action=action, between=at.between,
        clock=Clock.PAST_DUE if plain else Clock.DELINQUENT, flag=None if isinstance(action, Flag) else form.flag,
        when=condition(form.when) if form.when is not None else None,
        after=After(form.after.step, form.after.days) if form.after is not None else None, needs=_needs(form),
        offer=_terms(form.offer) if form.offer is not None and not isinstance(action, Terms) else None,
    )  # fmt: skip


def _action(form: StepForm) -> Action:
    if form.send is not None:
        return _send(form.send, before_due=form.at.day is not None and form.at.day < 0)
    if form.task is not None:
        task = form.task
        within, again_after = seconds_of(task.sla), seconds_of(task.again_after)
        return Work(task.queue, task.kind, within=within, again_after=again_after, priority=task.priority, script=task.script)
    if form.emit is not None:
        return Emit(form.emit)
    if form.hand_over is not None:
        return HandOver(form.hand_over.to)
    return _terms(form.offer) if form.offer is not None else Flag(form.flag or form.id)


def _needs(form: StepForm) -> Needs:
    wanted, rule = form.requires or (), form.approval
    if not wanted:
        return NOTHING_NEEDED
    asked = ApprovalRule() if rule is None else ApprovalRule(rule.queue, seconds_of(rule.sla), another_person=rule.by == "another_person")
    return Needs(asked if "approval" in wanted else None, tuple(form.evidence or (DOSSIER,)) if "evidence" in wanted else ())


def _terms(form: OfferForm) -> Terms:
    return Terms(
        form.kind, seconds_of(form.valid_for), max_months=form.max_months, waive_interest_percent=form.waive_interest_percent,
        waive_fees_percent=form.waive_fees_percent,
    )  # fmt: skip


def _send(form: SendForm, *, before_due: bool) -> Send:
    return Send(
        template=form.template, channels=tuple(form.channels), purpose=form.purpose or ("reminder" if before_due else "dunning"),
        fallback_after=seconds_of(form.fallback_after) if form.fallback_after else None, on_unknown=OnUnknown(form.on_unknown),
    )  # fmt: skip


def _shape_faults(found: Read, error: ValidationError) -> Iterator[Fault]:
    for one in error.errors(include_url=False):
        path: Path = tuple(part for part in one["loc"] if isinstance(part, (str, int)))
        said = found.nothing if not path and found.value is None else said_of(path, one)
        yield found.fault(path, _CODES.get(one["type"], "invalid"), said)


def _inconsistent(form: PolicyForm) -> Iterator[tuple[Path, str, str]]:
    """Yield faults that no single step shows."""
    seen: dict[str, StepForm] = {}
    for n, step in enumerate(form.steps):
        if step.id in seen:
            yield ("steps", n, "id"), "duplicate_step", f"two steps are called {step.id}"
        if step.when is not None:
            try:
                condition(step.when)
            except ConditionError as error:
                yield ("steps", n, "when"), error.error, str(error)
        yield from _following(("steps", n), step, seen)
        seen[step.id] = step


def _following(path: Path, step: StepForm, before: Mapping[str, StepForm]) -> Iterator[tuple[Path, str, str]]:
    """Yield what a step cannot follow; a report to a credit bureau must follow a notice, whatever else the policy says."""
    followed = before.get(step.after.step) if step.after is not None else None
    if step.after is not None and followed is None:
        yield (*path, "after", "step"), "unknown_step", f"no step before this one is called {step.after.step}"
    if followed is not None and (followed.send is None or (followed.at.day or 0) < 0):
        yield (*path, "after", "step"), "invalid", f"{followed.id} is not a message about overdue debts: nothing tells when it was sent"
    if step.emit == "bureau_report" and (followed is None or followed.send is None or followed.send.purpose != "notice"):
        yield (*path, "emit"), "no_notice", "a report to a bureau must follow a step whose purpose is notice: name it in after"


def _by_place(fault: Fault) -> tuple[int, int, str]:
    return fault.place.line, fault.place.column, fault.path
