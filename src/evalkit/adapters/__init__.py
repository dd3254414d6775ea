"""Instances to requests: prompt layout, few-shot choice, fitting to the context window."""
