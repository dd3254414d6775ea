"""The one place where model-written programs run: `judge` runs one, `require_sandbox` says whether it can."""
