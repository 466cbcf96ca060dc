"""The quickstart on several seeds: what the README says of it is printed here.

    python benchmarks/quickstart_seeds.py [--seeds 3] [--output benchmark_results]

Each seed splits the data anew, searches, trains, quantizes and exports. The means are
compared within one run: the int8 file against its float model, and against the
unshared network.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import quickstart

ROLES = ["unshared_float", "winner_float", "unshared_int8", "winner_int8"]


def main() -> None:
    """Runs all seeds and prints the table and what it says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("benchmark_results"))
    options = parser.parse_args()

    tables = []
    for seed in range(options.seeds):
        table = quickstart.run(options.output / f"seed_{seed}", seed=seed)
        tables.append(table.assign(role=ROLES, seed=seed))
    rows = pd.concat(tables, ignore_index=True)
    rows.to_csv(options.output / "seeds.csv", index=False)

    columns = ["test_accuracy", "file_bytes", "weight_bytes", "duplicates"]
    means = rows.groupby("role")[columns].mean().reindex(ROLES)
    accuracy, size = means.test_accuracy, means.file_bytes
    print(f"\nMean of {options.seeds} seeds")
    print(means.round(4).to_string())
    drop = 100 * (accuracy.winner_float - accuracy.winner_int8)
    print(f"int8 file below its float model: {drop:.2f} points")
    drop = 100 * (accuracy.unshared_float - accuracy.winner_int8)
    print(f"int8 file below the unshared float model: {drop:.2f} points")
    share = size.winner_int8 / size.unshared_int8
    print(f"int8 file, as a share of the unshared int8 file: {share:.3f}")


if __name__ == "__main__":
    main()
