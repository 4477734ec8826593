"""Trained runs: their folder, configuration, model and predictions."""
