"""The parts of the quantization benchmark: see `benchmarks/quantization.py`."""
