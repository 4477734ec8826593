"""Local web pages for readers: a viewer of a run, and a reader study."""
