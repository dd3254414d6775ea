"""evalkit: evaluate language models, from a run entry to kept, resumable, scored results."""

__version__ = "0.1.0"
