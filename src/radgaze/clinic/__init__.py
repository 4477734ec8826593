"""Results where radiologists work: DICOM objects of a run's predictions and maps."""
