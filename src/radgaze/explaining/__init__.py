"""Heatmaps of a trained run for images: files, or cases of its store."""
