"""A reader study: cases with and without an explanation, in a counterbalanced order, and what readers did."""
