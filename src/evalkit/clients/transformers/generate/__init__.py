"""Generation with transformers: continuous batches, caches row by row, sampling."""
