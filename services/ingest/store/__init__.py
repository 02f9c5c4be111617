"""Every SQL statement of ingest, by table; all are set-based, with typed arrays."""
