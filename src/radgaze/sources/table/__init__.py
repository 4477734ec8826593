"""A generic data set: a table of images and labels, with fixations, boxes and masks where there are any."""

from radgaze.sources.table.options import TableOptions
from radgaze.sources.table.source import SOURCE, read

__all__ = ["SOURCE", "TableOptions", "read"]
