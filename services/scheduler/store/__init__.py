"""Every SQL statement of the scheduler, by table; all of them work on batches passed as typed arrays."""
