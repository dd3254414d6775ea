"""Programs that try what a model's program must not be able to do, by kind."""
