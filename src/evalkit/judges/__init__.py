"""Judges: models that grade the answers of other models."""
