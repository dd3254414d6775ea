"""Checks that are not runs: gold answers through a benchmark's metrics, and two engines compared."""
