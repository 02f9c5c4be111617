"""What the scheduler is told by its environment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """`settle_s`: how long a case rests after its newest change, ten times that at most since the first one.

    `simulation_processes` play simulations beside the service; with `approval_needs_simulation` no policy is approved without one.
    """

    settle_s: float = 2.0
    simulation_processes: int = 2
    approval_needs_simulation: bool = False
