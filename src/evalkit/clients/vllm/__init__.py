"""Models run by vLLM: its engine under this process, or a server of its own."""
