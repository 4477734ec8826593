"""Explanations of a run's predictions for images: files, or cases of the run's store."""
