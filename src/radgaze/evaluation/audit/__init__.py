"""The audit: a comparison of explanation methods on a run's cases, aspect by aspect."""
