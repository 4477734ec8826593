"""A worker beside a PACS or a folder, which predicts new chest radiographs and stores the results once."""
