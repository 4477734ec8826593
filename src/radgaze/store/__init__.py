"""The store: a cohort prepared once, as arrays and tables on disk that training reads in any order."""
