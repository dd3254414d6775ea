"""Causal language models of the transformers library, run in this process."""
