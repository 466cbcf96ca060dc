"""The parts of the mobile vision example: see `examples/mobile_vision.py`."""
