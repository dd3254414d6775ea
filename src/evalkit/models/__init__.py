"""Models, deployments, tags and tokenizers."""
