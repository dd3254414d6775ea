"""From answers to numbers: units, the base of metrics, the scorer, stats and their intervals."""
