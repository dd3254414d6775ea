"""The built-in run-spec functions, one module per family."""
