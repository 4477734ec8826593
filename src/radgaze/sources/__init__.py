"""Sources: raw data sets, each read as a cohort of cases, gaze, boxes, masks, and rejections with reasons."""
