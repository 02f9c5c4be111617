"""Four whole amounts of minor units, in the order principal, interest, fee, penalty.

Plain tuples rather than `Parts`, because they are used for every payment.
"""

from services.ingest.domain.errors import CannotFold

Amounts = tuple[int, int, int, int]

NOTHING: Amounts = (0, 0, 0, 0)
PRINCIPAL, INTEREST, FEE, PENALTY = range(4)
MOST = 2**63 - 1


def plus(one: Amounts, other: Amounts) -> Amounts:
    """Return the sum, component by component."""
    return one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3]


def minus(one: Amounts, other: Amounts) -> Amounts:
    """Return the difference, component by component."""
    return one[0] - other[0], one[1] - other[1], one[2] - other[2], one[3] - other[3]


def least(one: Amounts, other: Amounts) -> Amounts:
    """Return the lesser of the two, component by component."""
    return min(one[0], other[0]), min(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])


def only(component: int, amount: int) -> Amounts:
    """Return the amount in one component and nothing in the others."""
    return (
        amount if component == PRINCIPAL else 0,
        amount if component == INTEREST else 0,
        amount if component == FEE else 0,
        amount if component == PENALTY else 0,
    )


def bounded(amount: int) -> int:
    """Return the amount, or raise `CannotFold` if it does not fit into 64 bits."""
    if not -MOST <= amount <= MOST:
        raise CannotFold("a sum exceeds 64 bits")
    return amount
