"""The one place where model-written programs run: `run_program` runs one in a sandbox."""
