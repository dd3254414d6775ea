"""Trackers: plugins that report runs elsewhere, each on a thread of its own; no run waits for them."""
