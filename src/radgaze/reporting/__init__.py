"""Pages and figures for readers: the report of one run, the comparison of several."""
