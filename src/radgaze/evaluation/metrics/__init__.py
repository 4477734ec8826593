"""Metrics as pure functions of arrays: classification, calibration, confidence, and quality of heatmaps."""
