"""Policy documents: read with the place of every fault, checked, written, compared."""
