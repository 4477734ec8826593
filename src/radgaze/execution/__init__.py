"""Running programs side by side: shares of a machine, processes on it, and tasks of a Ray cluster."""
