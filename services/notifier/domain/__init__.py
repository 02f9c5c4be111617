"""What the notifier decides: pure functions of stored values and the current time."""
