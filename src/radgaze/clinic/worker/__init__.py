"""A worker beside a PACS, or a folder: it predicts new frontal chest radiographs and stores the results once."""
