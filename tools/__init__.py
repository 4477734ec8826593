"""Scripts of the development of radgaze; none is installed."""
