"""Raw data sets, each read into a cohort: cases, gaze, boxes, masks, and rejections with reasons."""
