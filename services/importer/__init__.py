"""Books from elsewhere, turned into events that ingest takes."""
