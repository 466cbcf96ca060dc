"""The version of keras-share, read by setup.cfg without importing Keras."""

__version__ = "0.1.0"
