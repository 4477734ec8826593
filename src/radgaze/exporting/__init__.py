"""Export of trained runs for other software, and their model cards."""
