"""The parts of the ALBERT example: see `examples/albert.py`."""
