"""The parts of `benchmarks/keywords.py`."""
