"""Tables over many runs: run groups by model, with intervals and marks of noise."""
