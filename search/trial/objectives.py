"""What a search is to optimize: metrics of training and measures of the file."""

from collections.abc import Iterable, Mapping
from typing import Any

import keras_tuner as kt
import optuna

from keras_share.search.engine import infer_metric_direction
from keras_share.search.trial.measures import MEASURES


def get(objective: Any) -> dict[str, str]:
    """Reads one objective or several: the direction of each by name, the main first.

    They are names, or `keras_tuner.Objective`s. The first must be a metric of training:
    it decides which epoch of a trial counts. None stands for KerasTuner's default, the
    number that a hypermodel's `fit` returns. Of measures less is better, of metrics
    what KerasTuner says.

    Raises:
        ValueError: If a direction is not known, a name occurs twice, the first is a
            measure, or one is something else.

    Example:
    >>> get(["val_accuracy", "exported_bytes"])
    {'val_accuracy': 'max', 'exported_bytes': 'min'}
    """
    if objective is None:
        return {"default_objective": "min"}
    several = isinstance(objective, Iterable) and not isinstance(objective, str)
    read = [_read(one) for one in (objective if several else [objective])]
    found = dict(read)
    if not read or len(found) < len(read) or read[0][0] in MEASURES:
        raise ValueError(
            "`objective` must name metrics and measures, each once, and a metric of "
            "training first, such as ['val_accuracy', 'exported_bytes']. Received: "
            f"objective={objective!r}"
        )
    return found


def direction(metric: str, objectives: Mapping[str, str]) -> str:
    """`"max"` or `"min"`, whichever is better in a metric; `"min"` in a measure."""
    return objectives.get(metric) or infer_metric_direction(metric) or "min"


def signs(objectives: Mapping[str, str]) -> tuple[int, ...]:
    """What makes less better: -1 for what is to be maximized, else 1."""
    return tuple(-1 if one == "max" else 1 for one in objectives.values())


def objectives_of(study: optuna.Study) -> dict[str, str]:
    """The direction of each objective of a study, by name."""
    directions = [one.name.lower()[:3] for one in study.directions]
    if not directions:
        raise ValueError(
            "A study must have an objective. Received: the study "
            f"{study.study_name!r} without one. Take a copy from before."
        )
    names = study.metric_names or ["value"]
    if len(names) != len(directions):
        names = [f"value_{i}" for i in range(len(directions))]
    return dict(zip(names, directions, strict=True))


def unknown(missing: Iterable[str], known: Iterable[str]) -> str:
    """What is said of objectives that no trial of a search would have."""
    return (
        "Each objective must be a metric of `fit`, or a measure of what the tuner "
        f"exports (`export`) or `measure` returns. Received: no {list(missing)} among "
        f"{sorted(known)}"
    )


def _read(objective: Any) -> tuple[str, str]:
    if isinstance(objective, kt.Objective):
        return objective.name, objective.direction
    if objective in MEASURES:
        return objective, "min"
    if not isinstance(objective, str):
        raise ValueError(
            "`objective` must be the name of a metric or a measure, a "
            f"keras_tuner.Objective, or a list of them. Received: {objective!r}"
        )
    direction = infer_metric_direction(objective)
    if direction is None:
        raise ValueError(
            "Whether more or less of an objective is better must be known. Received: "
            f"{objective!r}, which is none of Keras's metrics and none of "
            f"{', '.join(MEASURES)}. Pass keras_tuner.Objective({objective!r}, 'max') "
            "or 'min'."
        )
    return objective, direction
