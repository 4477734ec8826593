"""Search of an experiment's settings by the validation AUC alone; no test case is read."""
