"""The store: a cohort prepared once, as arrays and tables that training reads."""
