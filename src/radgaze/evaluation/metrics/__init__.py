"""Metrics as pure functions of arrays: what a classifier decides, where a map points, how sure it is."""
