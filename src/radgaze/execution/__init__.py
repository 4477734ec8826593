"""Parallel execution: shares of a machine, processes on it, tasks on a cluster."""
