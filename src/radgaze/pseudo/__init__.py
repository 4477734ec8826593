"""Masks made of a run's maps, written into a copy of its store for another run to learn from."""
