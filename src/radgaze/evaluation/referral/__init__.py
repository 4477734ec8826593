"""Selective prediction: which cases a run should leave to a person, and what that gains."""
