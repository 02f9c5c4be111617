"""Every SQL statement of the notifier, by what it is about; each takes batches."""
