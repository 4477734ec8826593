"""Modules that `tests/test_every_kind.py` adds to a copy of radgaze, beside the examples of CONTRIBUTING.

No test imports them here: they register themselves.
"""
