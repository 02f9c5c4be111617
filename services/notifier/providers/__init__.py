"""The providers that carry messages, one per file."""
