"""Earlier searches, for a new one to learn from."""

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from keras_share.search.policies import Observation
from keras_share.search.project.leaderboard import leaderboard
from keras_share.search.project.record import TrialRecord, parse_patterns
from keras_share.search.project.study import Project
from keras_share.search.trial import objectives as read_objectives


def observations(
    source: str | os.PathLike, objectives: Mapping[str, str]
) -> list[Observation]:
    """The trials of an earlier search, as a policy sees them.

    They may be of other patterns, and lack hyperparameters or have further ones: what
    two searches have in common is compared.

    Args:
        source: The folder of a project, or the CSV file of a leaderboard.
        objectives: Of the new search. Trials without a finite value for each are left
            out.

    Raises:
        ValueError: If nothing is left, or the file is no CSV.
        FileNotFoundError: If there is no such file or folder.
    """
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(
            "`earlier` must be the folder of a search (its `directory` joined with its "
            "`project_name`) or the CSV file of its leaderboard. Received: "
            f"{os.fspath(source)!r}, which does not exist"
        )
    table = _of_project(path) if path.is_dir() else _of_csv(path, objectives)
    if "status" in table:
        table = table[table["status"] == "COMPLETED"]
    signs = read_objectives.signs(objectives)
    kept = []
    # Integers stay integers where other trials have none.
    for row in table.convert_dtypes().to_dict("records"):
        present = {name: value for name, value in row.items() if not pd.isna(value)}
        numbers = {
            n: v
            for n, v in present.items()
            if isinstance(v, (int, float)) and not n.startswith("hp/")
        }
        if all(math.isfinite(numbers.get(name, math.nan)) for name in objectives):
            scores = [s * numbers[n] for s, n in zip(signs, objectives, strict=True)]
            try:
                point = _point(present)
            except ValueError as error:
                raise ValueError(
                    "The patterns of an earlier search must be as it wrote them. "
                    f"Received: {os.fspath(source)!r}, trial "
                    f"{present.get('trial_id')!r} ({error})"
                ) from error
            kept.append(Observation(point, tuple(scores), numbers, is_earlier=True))
    if not kept:
        raise ValueError(
            "An earlier search must have completed trials with values for "
            f"{', '.join(objectives)}. Received: {os.fspath(source)!r} with "
            f"{len(table)} completed trials, none with all of these."
        )
    return kept


def _of_project(folder: Path) -> pd.DataFrame:
    project = Project(folder)
    return leaderboard(project.records(), *next(iter(project.objectives.items())))


def _of_csv(path: Path, objectives: Iterable[str]) -> pd.DataFrame:
    try:
        # By default pandas 2 reads another number than was written.
        table = pd.read_csv(
            path,
            dtype={"pattern": str},
            float_precision="round_trip",
            compression=None,  # it may unpack to any size
            index_col=False,  # a row with commas too many would move the others
        )
        # One word among the numbers would make words of all.
        for name in table.columns.intersection(list(objectives)):
            table[name] = pd.to_numeric(table[name], errors="coerce")
        return table
    # Of the decoding or of the parser; Python's, of numbers of many digits.
    except (ValueError, OverflowError) as error:
        raise ValueError(
            "`earlier` must be a folder or a CSV file, such as `SearchResults.to_csv` "
            f"writes. Received: {os.fspath(path)!r} ({error})"
        ) from error


def _point(row: Mapping[str, Any]) -> dict[str, Any]:
    chosen = {n.removeprefix("hp/"): v for n, v in row.items() if n.startswith("hp/")}
    patterns = parse_patterns(row.get("pattern", ""))
    record = TrialRecord(
        trial_id="", status="", patterns=patterns, hyperparameters=chosen
    )
    return {**patterns, **record.values}
