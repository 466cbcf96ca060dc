"""Earlier searches, for a new one to learn from."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras_tuner as kt
import pandas as pd

from keras_share.search.policies import Observation
from keras_share.search.project.record import TrialRecord, parse_patterns
from keras_share.search.project.study import Project
from keras_share.search.trial import objectives as read_objectives


def observations(
    source: str | os.PathLike, objectives: Sequence[kt.Objective]
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
    found = _of_project(path) if path.is_dir() else _of_csv(path)
    names = [objective.name for objective in objectives]
    signs = read_objectives.signs(objectives)
    kept = [
        Observation(
            point,
            tuple(sign * values[n] for sign, n in zip(signs, names, strict=True)),
            values,
            is_earlier=True,
        )
        for point, values in found
        if all(math.isfinite(values.get(name, math.nan)) for name in names)
    ]
    if not kept:
        raise ValueError(
            "An earlier search must have completed trials with values for "
            f"{', '.join(names)}. Received: {os.fspath(source)!r} with {len(found)} "
            "completed trials, none with all of these."
        )
    return kept


Found = list[tuple[dict[str, Any], Mapping[str, float]]]


def _of_project(folder: Path) -> Found:
    return [
        ({**record.patterns, **record.values}, record.numbers)
        for record in Project(folder).records()
        if record.is_completed
    ]


def _of_csv(path: Path) -> Found:
    try:
        table = pd.read_csv(path, dtype={"pattern": str, "trial_id": str})
    except ValueError as error:  # of the decoding or of the parser
        raise ValueError(
            "`earlier` must be a folder or a CSV file, such as `SearchResults.to_csv` "
            f"writes. Received: {os.fspath(path)!r} ({error})"
        ) from error
    found: Found = []
    # Integers stay integers where other trials have none.
    for row in table.convert_dtypes().to_dict("records"):
        if row.get("status", "COMPLETED") != "COMPLETED":
            continue
        present = {name: value for name, value in row.items() if not pd.isna(value)}
        record = TrialRecord(
            trial_id=str(present.get("trial_id")),
            status="COMPLETED",
            objectives={},
            patterns=parse_patterns(present.pop("pattern", "")),
            hyperparameters={
                name.removeprefix("hp/"): present.pop(name)
                for name in list(present)
                if name.startswith("hp/")
            },
        )
        numbers = {n: v for n, v in present.items() if isinstance(v, (int, float))}
        found.append(({**record.patterns, **record.values}, numbers))
    return found
