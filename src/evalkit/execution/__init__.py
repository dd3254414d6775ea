"""Scheduling, limits, retries, cache and journal."""
