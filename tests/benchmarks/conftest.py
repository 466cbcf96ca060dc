"""The benchmarks are programs: they import what lies beside them and the examples."""

import sys
from pathlib import Path

for folder in ("benchmarks", "examples"):
    sys.path.insert(0, str(Path(__file__).parents[2] / folder))
