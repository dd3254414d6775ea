"""Responses to scores to stats."""
