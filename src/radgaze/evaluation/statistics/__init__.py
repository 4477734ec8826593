"""How sure a figure is: resampling, intervals, tests, seeds, power, and when a verdict may be given."""
