"""Files that are copied into an export as they are, and that need no radgaze."""
