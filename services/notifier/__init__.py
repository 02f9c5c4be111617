"""Decides whether a contact may go out now and how, sends it, and tracks what became of it."""
