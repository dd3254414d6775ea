"""Runs of other harnesses, read into run directories; run directories, written as other harnesses do."""
