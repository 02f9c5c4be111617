"""What the notifier decides: pure functions of what is stored and the moment."""
