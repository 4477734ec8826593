"""Radiographs from DICOM files: decoded, made grey, each in a process that it cannot take the run from."""
