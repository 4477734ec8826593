"""A local web page on which a radiologist looks at images with a run's predictions and maps."""
