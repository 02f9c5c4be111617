"""What the ledger cannot fold."""


class CannotFold(ValueError):  # noqa: N818 - reads well where the shell parks the loan
    """A sum beyond 64 bits or a date beyond the calendar: the shell puts this one loan in doubt."""
