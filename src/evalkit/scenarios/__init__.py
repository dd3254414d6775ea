"""Benchmarks as instances, one module per benchmark or family."""
