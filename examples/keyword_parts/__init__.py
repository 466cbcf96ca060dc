"""The parts of the keyword spotting example: see `examples/keyword_spotting.py`."""
