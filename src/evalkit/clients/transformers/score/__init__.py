"""Log-probabilities of given texts with transformers: packs that share prefixes."""
