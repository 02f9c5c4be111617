"""Those who carry messages, one a file."""
