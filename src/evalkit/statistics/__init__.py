"""Statistics of evaluations, in plain Python: tests, corrections, ranks. Knows nothing of runs."""
