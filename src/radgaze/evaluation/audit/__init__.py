"""Explanation methods side by side: what each map of a run is worth, aspect by aspect."""
