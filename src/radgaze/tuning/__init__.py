"""Hyperparameter search for an experiment by the validation AUC; no test case is read."""
