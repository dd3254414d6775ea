"""Configs of the Nejumi leaderboard (Neo's template, and the later pair of YAML files) as run entries."""
