"""Selective prediction: which cases to refer to a radiologist, and how that changes the results."""
