"""Checks that are no runs: gold answers through a benchmark's metrics, and two engines compared."""
