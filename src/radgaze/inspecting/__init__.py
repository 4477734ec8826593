"""Inspection of a prepared store: counts, distributions and mean maps, without any run."""
