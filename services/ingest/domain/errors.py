"""What the ledger cannot digest."""


class CannotFold(ValueError):  # noqa: N818 - reads as what it says where the shell parks the loan
    """A sum beyond 64 bits or a date beyond the calendar: the shell parks this one loan in doubt."""
