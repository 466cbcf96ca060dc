"""`benchmark`: time, memory and outputs of files in the runtimes that run them."""

import math
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_share.tflite.file import flatbuffer
from keras_share.tflite.runtimes.agreement import difference, random_inputs
from keras_share.tflite.runtimes.apart import RunError, check_timeout, run_apart
from keras_share.tflite.runtimes.modes import MODES

if TYPE_CHECKING:
    import pandas

Source = str | os.PathLike | bytes
Progress = Callable[[int, int, str], None]

# The modes whose outputs are taken as right, the surer one first.
_TRUSTED = ("reference", "interpreter")
# Rounding moved the int8 outputs of 12 transformer blocks by 0.016 of the largest one,
# those in float by 2e-7; weights of another operator, which XNNPACK's cache can serve
# where int8 operators share kernel and bias but not their scales, by 0.15 to 0.55.
WRONG = 0.05


@dataclass(frozen=True)
class Measurement:
    """What was measured of a file in a mode.

    Attributes:
        file: Name of the file.
        mode: Name of the mode.
        file_bytes: Size of the file.
        load_ms: Time from the path to a model that is ready for its inputs.
        first_ms: Time of the first run.
        median_ms: Median of the runs after the warm-up.
        p90_ms: Their 90th percentile.
        grown_mb: Growth of the process's resident memory from just before loading to
            after the warm-up, in units of 2**20 bytes. Of a file that is mapped, the
            parts that were touched count, and 1 to 4 MB are the runtime's own code.
            NaN on a system without `/proc`.
        peak_mb: The same at its peak.
        difference: The largest difference of the outputs from those of the mode
            `"reference"` if that is asked for, and of `"interpreter"` otherwise, as a
            share of the largest output; of the rounds, the largest. Infinite if there
            is NaN or infinity in one of both, NaN if there is nothing to compare with.
        error: Why the mode does not run the file, whose figures are NaN then; empty
            where it does.
    """

    file: str
    mode: str
    file_bytes: int
    load_ms: float = math.nan
    first_ms: float = math.nan
    median_ms: float = math.nan
    p90_ms: float = math.nan
    grown_mb: float = math.nan
    peak_mb: float = math.nan
    difference: float = math.nan
    error: str = ""


@dataclass(frozen=True)
class BenchmarkReport:
    """What `benchmark` measured.

    Attributes:
        rows: A `Measurement` for each file and mode.
    """

    rows: tuple[Measurement, ...]

    def to_dict(self) -> dict[str, Any]:
        """The report in dicts, lists, text and numbers."""
        return {"rows": [asdict(row) for row in self.rows]}

    def to_dataframe(self) -> "pandas.DataFrame":
        """The report as a DataFrame with a row for each file and mode."""
        import pandas as pd

        return pd.DataFrame(map(asdict, self.rows))


def benchmark(
    *sources: Source | Mapping[str, Source],
    modes: Sequence[str] = ("interpreter",),
    num_threads: int = 1,
    runs: int = 50,
    rounds: int = 3,
    timeout: float = 300,
    progress: Progress | None = None,
) -> BenchmarkReport:
    """Measures time and memory of files, and compares the outputs of runtimes.

    Each file runs in each mode in a process of its own, once in every round, and files
    and modes take turns: what slows the machine for a while meets all of them. The
    figures are medians over the rounds. Compare figures of one call only: those of
    another machine, or another hour, are others.

    - `"interpreter"`: LiteRT's `Interpreter` with its default delegate, XNNPACK.
    - `"reference"`: LiteRT's `Interpreter` with its slow reference kernels.
    - `"compiled"`: LiteRT's `CompiledModel` on the CPU.
    - `"compiled_cache"`: the same with XNNPACK's cache of weights, in memory.
    - `"micro"`: TensorFlow Lite Micro, of the package `tflite-micro`.

    A run calls each signature once from Python: it hands the inputs over and reads the
    outputs. After a warm-up of 0.1 seconds come at least `runs` runs that last at least
    0.5 seconds; after 10 seconds no other one is started. What the mode `"micro"` takes
    is the time of the reference kernels in their build for Python, not that of a
    microcontroller.

    Inputs are random and the same for all modes: normal numbers for floats, the whole
    range for integers with a scale, 0 and 1 for other integers. Dimensions that the
    file leaves open are 1.

    Args:
        *sources: Paths of files, or their bytes, or mappings from names to such.
        modes: The modes, of those in the table.
        num_threads: Number of threads of the runtime; TensorFlow Lite Micro has one.
        runs: The least number of runs that are timed in each round.
        rounds: Number of rounds.
        timeout: Seconds after which a process is ended.
        progress: Called after each process with the number of those that ended, the
            number of all, and the file and mode of this one.

    Returns:
        A `BenchmarkReport`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file is not a .tflite model, if two have one name, or if an
            argument is out of its range.

    Warns:
        UserWarning: If the outputs of a mode are wrong.

    Example:
    >>> import keras, keras_share
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    >>> report = keras_share.export_tflite(model, "model.tflite")
    >>> report = benchmark("model.tflite", modes=("interpreter", "compiled"), rounds=1)
    >>> [(row.file, row.mode, row.error) for row in report.rows]
    [('model.tflite', 'interpreter', ''), ('model.tflite', 'compiled', '')]
    """
    _check(modes, num_threads, runs, rounds, timeout)
    files = _named(sources)
    data = {name: flatbuffer.contents(source) for name, source in files.items()}
    models = {name: flatbuffer.read(source) for name, source in files.items()}
    trusted = next((mode for mode in _TRUSTED if mode in modes), _TRUSTED[-1])
    turns = [(name, mode) for mode in dict.fromkeys((*modes, trusted)) for name in data]
    figures: dict[tuple[str, str], list[dict[str, float]]] = {t: [] for t in turns}
    errors: dict[tuple[str, str], str] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = {
            name: _path(source, os.path.join(folder, f"{i}.tflite"))
            for i, (name, source) in enumerate(files.items())
        }
        for seed in range(rounds):
            calls = {name: random_inputs(model, seed) for name, model in models.items()}
            outputs = {}
            for i, turn in enumerate(turns, seed * len(turns) + 1):
                name, mode = turn
                job = "measure", mode, paths[name], calls[name], num_threads, runs
                if turn not in errors:
                    try:
                        measured, outputs[turn] = run_apart(*job, timeout=timeout)
                        figures[turn].append(measured)
                    except RunError as error:
                        errors[turn] = str(error)
                if progress is not None:
                    progress(i, rounds * len(turns), f"{name}, {mode}")
            for (name, mode), given in outputs.items():
                right = [outputs[name, m] for m in _TRUSTED if (name, m) in outputs]
                far = difference(right[0], given) if right else math.nan
                figures[name, mode][-1]["difference"] = far
    rows = tuple(
        Measurement(name, mode, len(data[name]), error=errors[name, mode])
        if (name, mode) in errors
        else Measurement(
            name, mode, len(data[name]), error="", **_medians(figures[name, mode])
        )
        for name in data
        for mode in modes
    )
    _warn_if_wrong(rows)
    return BenchmarkReport(rows)


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The medians of the rounds, and of how far outputs are from right the largest."""
    medians = {k: float(np.median([each[k] for each in rounds])) for k in rounds[0]}
    return medians | {"difference": max(each["difference"] for each in rounds)}


def _check(
    modes: Sequence[str], num_threads: int, runs: int, rounds: int, timeout: float
) -> None:
    if isinstance(modes, str) or not modes or not set(modes) <= set(MODES):
        raise ValueError(
            f"`modes` must be a list with some of {', '.join(map(repr, MODES))}. "
            f"Received: modes={modes!r}"
        )
    counts = {"num_threads": num_threads, "runs": runs, "rounds": rounds}
    for name, count in counts.items():
        if not isinstance(count, int) or count < 1:
            raise ValueError(
                f"`{name}` must be a whole number of at least 1. "
                f"Received: {name}={count!r}"
            )
    check_timeout(timeout)


def _named(sources: Sequence[Source | Mapping[str, Source]]) -> dict[str, Source]:
    pairs: list[tuple[str, Source]] = []
    for source in sources:
        if isinstance(source, Mapping):
            pairs += source.items()
        elif isinstance(source, str | os.PathLike):
            pairs.append((os.fspath(source), source))
        else:
            pairs.append((f"bytes {len(pairs)}", source))
    names = [name for name, _ in pairs]
    if not names or len({*names}) < len(names):
        raise ValueError(
            "`sources` must be at least one file, and each one must have a name of its "
            f"own. Received: {names}. Pass a mapping from names to files."
        )
    return dict(pairs)


def _path(source: Source, written: str) -> str:
    """Where the file is: runtimes map it to memory from there, as they do in an app."""
    if isinstance(source, str | os.PathLike):
        return os.path.abspath(source)
    Path(written).write_bytes(source)
    return written


def _warn_if_wrong(rows: Sequence[Measurement]) -> None:
    for row in rows:
        if row.difference > WRONG:
            warnings.warn(
                f"Mode {row.mode!r} gives wrong outputs for {row.file!r}: they "
                f"differ by {row.difference:.2g} of the largest one. Don't ship the "
                "file with this runtime, and don't trust its figures.",
                stacklevel=3,
            )
