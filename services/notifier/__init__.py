"""May it be said now, how, and what became of it."""
