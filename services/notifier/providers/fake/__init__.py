"""Fakes of the providers: they accept the real requests, give the answer that an address asks for, and sign their receipts."""
