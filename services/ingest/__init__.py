"""The ledger: what is owed, and since when."""
