"""Plots: each is a scene of marks, made in Python, which one writer turns into SVG and a library into PNG."""
