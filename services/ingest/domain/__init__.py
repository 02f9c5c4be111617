"""The ledger of a loan as a pure function of its events."""
