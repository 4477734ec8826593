"""Pages and figures: the report of a run, comparisons of runs, and those of audits, stores and grids."""
