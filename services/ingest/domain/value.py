"""What every value of the ledger is: immutable, compared by its parts, and cheap to make by the hundred thousand.

The one file of the domain that knows msgspec: a frozen dataclass costs twelve times as much to make (ADR 0009).
"""

from msgspec import Struct
from msgspec import field as field  # noqa: PLC0414  # the domain finds it here
from msgspec.structs import replace as replace  # noqa: PLC0414  # the domain finds it here


class Draft(Struct, gc=False):
    """What a value is made from step by step; it never leaves the rule that makes it."""


class Value(Struct, frozen=True, array_like=True, gc=False):
    """A value; stored by position, and holding no cycles, so that the collector need not look at it."""
