"""Latency of the finalists' files, all in one call: only ratios mean something."""

from pathlib import Path

import pandas as pd

import keras_share as ks
from keras_share.atomic import write_atomically
from proof.training import Job


def file_name(job: Job) -> str:
    """Of the int8 file of a job."""
    name = job.candidate.replace(" ", "_")
    return f"{job.task}_{job.budget}_{name}_{job.width}.tflite"


def measure(task: str, folder: Path) -> None:
    """Writes `latency.csv`: milliseconds and memory by file of a task."""
    path = folder / "latency.csv"
    files = sorted(folder.glob(f"{task}_*.tflite"))
    frame = ks.benchmark(*files).to_dataframe()
    frame["file"] = [Path(name).name for name in frame.file]
    frame.insert(0, "task", task)
    if path.exists():
        # Of other budgets the files may be on another machine.
        known, now = pd.read_csv(path), set(frame.file.map(_compared))
        frame = pd.concat([known[~known.file.map(_compared).isin(now)], frame])
    write_atomically(path, frame.to_csv(index=False).encode())


def _compared(name: str) -> str:
    """What names of files of one task and budget begin with."""
    return "_".join(name.split("_")[:2])
