"""Train chest-radiograph classifiers that look where the radiologist looked, and measure whether they did."""

__version__ = "0.1.0"
