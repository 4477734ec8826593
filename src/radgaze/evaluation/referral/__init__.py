"""Selective prediction: which cases a run should refer to a person, and what that gains."""
