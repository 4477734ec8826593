"""Uncertainty of figures: resampling, intervals, tests, means over seeds, power and verdicts."""
