"""Every SQL statement of ingest, by table; all of them set-based through typed arrays."""
