"""Predictions of a run for images: files, arrays, or cases of the run's store."""
