"""Tries every public layer and activation of Keras, and writes docs/coverage.md.

    python benchmarks/coverage.py [--applications] [--hub] [--only NAME ...]

Each is a small model that is shared, quantized, exported, run in LiteRT and compared
with Keras: float within 1e-4, int8 with at least 25 dB of signal to noise. Rows that
are not tried in a run stay as they are.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

from coverage_parts.families import ACTIVATIONS, APPLICATIONS, HUB, LAYERS, names_of
from coverage_parts.measure import Row
from coverage_parts.page import read_rows, written
from coverage_parts.pool import measured

from keras_share.atomic import write_atomically

PAGE = Path(__file__).parents[1] / "docs" / "coverage.md"


def main() -> None:
    """Tries what is asked for, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--applications", action="store_true")
    parser.add_argument("--hub", action="store_true")
    parser.add_argument("--only", nargs="*", help="names, such as layers.Dense")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--output", type=Path, default=PAGE)
    options = parser.parse_args()
    kinds = [LAYERS, ACTIVATIONS]
    kinds += [APPLICATIONS] * options.applications + [HUB] * options.hub
    names = options.only or [name for kind in kinds for name in names_of(kind)]
    rows = read_rows(options.output)
    for row in measured(names, options.workers, options.seconds):
        print(*vars(row).values(), sep=" | ", flush=True)
        rows[row.name] = row
        write_atomically(options.output, written(rows.values()).encode())
    sys.exit(any("error" in (row.float, row.int8) for row in rows.values()))


__all__ = ["Row", "main"]

if __name__ == "__main__":
    main()
