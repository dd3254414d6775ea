"""Judges: models that judge answers; their questions, and how their replies are read."""
