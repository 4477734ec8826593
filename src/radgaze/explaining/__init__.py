"""Every map of a trained run for images that somebody brings: files, or cases of its store."""
