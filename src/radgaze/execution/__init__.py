"""Execution of programs in parallel: shares of a machine, processes on it, and tasks on a Ray cluster."""
