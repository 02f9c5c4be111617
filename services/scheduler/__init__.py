"""The scheduler: what should be said or done next about a debt, and when."""
