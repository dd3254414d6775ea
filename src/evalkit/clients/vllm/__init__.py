"""Models run by vLLM: its engine under this process, or its own server."""
