"""Import a generic data set: a table of images and labels, with fixations and boxes where there are any."""

from radgaze.sources.table.source import EXAMPLE, add_arguments, read

__all__ = ["EXAMPLE", "add_arguments", "read"]
