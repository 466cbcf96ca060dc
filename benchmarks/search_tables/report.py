"""Prints what the tables are worth, and renews the figures of `README.md`.

python benchmarks/search_tables/report.py
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported
sys.path.insert(0, str(Path(__file__).parents[1]))

from keras_share.atomic import write_atomically
from search_tables import noise, taus
from search_tables.tables import FOLDER

README = FOLDER / "README.md"
HEADING = "## Figures\n"


def figures() -> str:
    """Both reports in Markdown."""
    return f"{noise.report()}\n\n{taus.report()}\n"


if __name__ == "__main__":
    print(figures())
    words = README.read_text().partition(HEADING)[0]
    write_atomically(README, f"{words}{HEADING}\n{figures()}".encode())
