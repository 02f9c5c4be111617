"""Policy documents: read with the position of every fault, checked, written, compared."""
