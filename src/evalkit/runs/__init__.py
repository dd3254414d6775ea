"""A run from its entry to its result: plan, load, session, runner, events."""
