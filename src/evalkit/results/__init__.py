"""The run directory: write, read, summarise."""
