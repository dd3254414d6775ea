"""Leaderboards over stored runs: a tree of numbers for each model, with intervals, coverage and ranks."""
