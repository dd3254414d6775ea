"""Trackers: plugins that report runs elsewhere, each on its own thread; no run waits for them."""
