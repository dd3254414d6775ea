"""Leaderboards as data: trees of what is averaged with what, shipped as YAML files and written by users."""
