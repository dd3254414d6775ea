"""Rules that choose which member of a routed deployment answers an instance."""
