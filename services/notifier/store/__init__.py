"""Every SQL statement of the notifier, by subject; each takes batches."""
