"""The scheduler: decides what to say or do next about a debt, and when."""
