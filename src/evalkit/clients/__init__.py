"""Requests to responses: one module per provider."""
