"""What a person reads: figures, the report of one run, the comparison of several."""
