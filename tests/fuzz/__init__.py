"""Fuzz tests: inputs that are spoilt at random must be read rightly or refused in a line.

Run with `make fuzz SECONDS=300 SEED=0`, or `python -m tests.fuzz --help`.
"""
