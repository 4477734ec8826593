"""Inspection of a prepared store: counts, distributions and mean maps, without a trained run."""
