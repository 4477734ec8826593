"""Raw data sets, each read into a cohort: cases, gaze, boxes, and what was left out with the reason."""
