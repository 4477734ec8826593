"""Measurements of speed and memory: each benchmark is a function that measures and returns a table.

python -m benchmarks                  the quick ones
python -m benchmarks NAME ...         those named
python -m benchmarks NAME --help      what one can be told

A new benchmark is a function that returns a `Result`, and one line in `__main__.BENCHMARKS`.
"""
