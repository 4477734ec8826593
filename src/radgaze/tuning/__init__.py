"""Searching an experiment's settings by validation AUC alone; no test case is ever looked at."""
