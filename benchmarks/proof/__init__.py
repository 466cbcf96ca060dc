"""The parts of the proof: see `benchmarks/proof/run.py`."""
