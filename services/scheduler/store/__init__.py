"""Every SQL statement of the scheduler, by table; all of them work on batches by typed arrays."""
