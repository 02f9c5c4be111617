"""What a policy is: immutable steps on days, some of which say something and some of which give work to a person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Send:
    """Say something: channels in order of preference."""

    template: str
    channels: tuple[str, ...]
    purpose: str = "dunning"


@dataclass(frozen=True, slots=True)
class Work:
    """Give a task to a person; once completed it is given again after a while, as long as money is owed (None: never)."""

    queue: str
    kind: str
    within: timedelta
    again_after: timedelta | None


@dataclass(frozen=True, slots=True)
class Step:
    """What happens on a day; a negative day counts to the next due date. `between` are local hours, None the whole day."""

    id: str
    day: int
    action: Send | Work
    between: str | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """One version of a policy; its steps stand in the order of their days."""

    name: str
    version: int
    steps: tuple[Step, ...]
    cool_down: timedelta

    def __post_init__(self) -> None:
        if list(self.steps) != sorted(self.steps, key=lambda step: step.day):
            raise ValueError(f"the steps of {self.name} do not stand in the order of their days")
        if len({step.id for step in self.steps}) != len(self.steps):
            raise ValueError(f"two steps of {self.name} have the same id")

    @property
    def reminders(self) -> tuple[Step, ...]:
        """Return the steps before the due date."""
        return tuple(step for step in self.steps if step.day < 0 and isinstance(step.action, Send))

    @property
    def messages(self) -> tuple[Step, ...]:
        """Return the steps that say something about what is overdue."""
        return tuple(step for step in self.steps if step.day >= 0 and isinstance(step.action, Send))

    @property
    def errands(self) -> tuple[Step, ...]:
        """Return the steps that give work to a person."""
        return tuple(step for step in self.steps if isinstance(step.action, Work))
