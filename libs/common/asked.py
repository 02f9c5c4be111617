"""What bodies of requests have in common where pydantic reads them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Asked(BaseModel):
    """A body in which nothing unknown stands."""

    model_config = ConfigDict(extra="forbid")
