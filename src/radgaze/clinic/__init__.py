"""Results where radiologists work: DICOM objects, and a worker beside a PACS."""
