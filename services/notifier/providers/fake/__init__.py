"""Fakes of the providers: they take the real requests, answer as an address asks, and sign their receipts."""
