"""What quantization costs: accuracy of the files, and time of a training step.

    python benchmarks/quantization.py [--spoken spoken-digits] [--seeds 3]
    python benchmarks/quantization.py --part accuracy --data digits
    python benchmarks/quantization.py --part step

Accuracy: networks that share are trained, quantized with calibration only and after
training, and exported; beside them the converter's own quantization of the same float
network, and TFMOT's own `quantize_model` on the nearest network that it accepts,
without sharing. Every file is run in LiteRT on the whole test set, and compared with
the float network that it comes from. A positive drop is a loss. What is in
`accuracy.csv` of the output folder is not run again.

Step: seconds of a training step with quantization, as a ratio to the float step of the
same network. The two take turns; the ratio is the median over the rounds. Beside it
TFMOT's ratio on the same network, on the legacy Keras that it needs.
"""

import argparse
import os
import sys
import time
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported
sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import keras
import pandas as pd
from quantization_parts import accuracy, steps
from quantization_parts.cases import CASES
from quantization_parts.data import digits, spoken
from rich.console import Console

from keras_share.atomic import write_atomically

console = Console()


def run_accuracy(options: argparse.Namespace) -> pd.DataFrame:
    """Runs what `accuracy.csv` lacks; returns all its rows."""
    file = options.output / "accuracy.csv"
    rows = pd.read_csv(file).to_dict("records") if file.exists() else []
    done = {(row["data"], row["network"], row["seed"]) for row in rows}
    cases = [
        case
        for case in CASES
        if options.data in (None, case.data)
        and options.network in (None, case.network)
        and (case.data != "spoken" or options.spoken)
    ]
    # Seed by seed, so that the first rows already compare all.
    for seed in range(options.seeds):
        for case in cases:
            if (case.data, case.network, seed) in done:
                continue
            start = time.perf_counter()
            console.print(f"[bold]{case.data}, {case.network}[/], seed {seed}")
            data = (
                digits(seed) if case.data == "digits" else spoken(options.spoken, seed)
            )
            folder = options.output / f"{case.data}_{case.network}_{seed}"
            rows += accuracy.measure(case, data, seed, folder, console)
            frame = pd.DataFrame(rows)
            write_atomically(file, frame.to_csv(index=False).encode())
            keras.utils.clear_session()
            console.print(f"  {time.perf_counter() - start:.0f} seconds")
    return pd.DataFrame(rows)


def main() -> None:
    """Runs the parts and prints their tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--output", type=Path, default=Path("benchmark_results/quantization"))
    add("--part", choices=["accuracy", "step"], help="only this part")
    add("--data", choices=["digits", "spoken"], help="only on this data")
    add("--network", choices=sorted({c.network for c in CASES}), help="only this one")
    add(
        "--spoken",
        help="recordings: spoken-digits (fetched), a folder or an .npz; without it "
        "only digits",
    )
    add("--seeds", type=int, default=3)
    add("--rounds", type=int, default=30, help="training steps that are timed")
    add("--jit", choices=steps.JITS, help="only with or without compiling by XLA")
    options = parser.parse_args()
    if options.data == "spoken" and options.spoken is None:
        parser.error("--data spoken needs --spoken, see there")
    options.output.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore", module=r"tensorflow\.lite")

    if options.part != "step":
        summary = accuracy.summarize(run_accuracy(options))
        summary.to_csv(options.output / "accuracy_means.csv", index=False)
        accuracy.show(summary, console)
    if options.part != "accuracy":
        table = steps.measure_all(options.rounds, options.jit, console)
        table.to_csv(options.output / "steps.csv", index=False)
        steps.show(table, console)


if __name__ == "__main__":
    main()
