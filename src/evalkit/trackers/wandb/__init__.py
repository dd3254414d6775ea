"""The W&B tracker: a light part next to the runs, and a process with the SDK that reads run directories."""
