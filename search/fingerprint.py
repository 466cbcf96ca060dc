"""What a search is a search of, so that it goes on only with the same."""

import json
import os
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import keras_tuner as kt

from keras_share.files import write_atomically

from . import saved
from .source import description

Fingerprint = dict[str, dict[str, Any]]

_FILE = "search.json"
_PARTS = {
    "space": "search space",
    "objective": "objective",
    "code": "code",
    "fit": "arguments of `search`",
}


def take(
    space: kt.HyperParameters,
    objectives: Sequence[kt.Objective],
    code: Mapping[str, str],
    arguments: Mapping[str, Any],
) -> Fingerprint:
    """The fingerprint of a search.

    Args:
        space: The hyperparameters as declared by today's hypermodel.
        objectives: The objectives of the search.
        code: What `code_of` says of the hypermodel.
        arguments: The arguments of `search`; only plain values count, data do not.
    """
    plain = (bool, int, float, str, type(None))
    return {
        "space": {p.name: _describe(p) for p in space.space},
        "objective": {one.name: one.direction for one in objectives},
        "code": dict(code),
        "fit": {
            name: value for name, value in arguments.items() if isinstance(value, plain)
        },
        "versions": {
            "keras": keras.__version__,
            "keras_share": metadata.version("keras-share"),
        },
    }


def code_of(hypermodel: kt.HyperModel) -> dict[str, str]:
    """The code and the settings of a hypermodel; see `source.description`."""
    build = hypermodel.build
    if getattr(build, "__self__", None) is hypermodel:
        return description(hypermodel)
    return description(build)  # a function, which KerasTuner wraps


def read(project_dir: str | os.PathLike) -> Fingerprint | None:
    """The fingerprint the search of a project began with."""
    return saved.read_json(Path(project_dir, _FILE))


def write(project_dir: str | os.PathLike, fingerprint: Fingerprint) -> None:
    """Writes the fingerprint of the search of a project."""
    text = json.dumps(fingerprint, indent=2) + "\n"
    write_atomically(Path(project_dir, _FILE), text.encode())


def check(project_dir: str | os.PathLike, now: Fingerprint) -> None:
    """Checks that a search goes on with what it began with.

    Raises:
        ValueError: If the space, the objective, the code or the arguments changed.
    """
    changes = differences(read(project_dir) or now, now)
    if changes:
        raise ValueError(
            "A search that goes on must be the same as before, or its trials can't be "
            f"compared. Changed since {str(project_dir)!r} was begun:\n"
            + "".join(f"  {change}\n" for change in changes)
            + "Undo this, choose another `project_name`, pass `overwrite=True` to "
            'delete the earlier trials, or `on_change="continue"` to go on with them.'
        )


def differences(before: Fingerprint, now: Fingerprint) -> list[str]:
    """What changed from one fingerprint to the other, one line for each change."""
    lines = []
    for part, title in _PARTS.items():
        old, new = before.get(part, {}), json.loads(json.dumps(now[part]))
        for name in dict.fromkeys([*old, *new]):
            if name not in new:
                lines.append(f"{title}: {name} is gone (was {old[name]})")
            elif name not in old:
                lines.append(f"{title}: {name} is new ({new[name]})")
            elif old[name] != new[name]:
                lines.append(f"{title}: {name}: {old[name]} -> {new[name]}")
    return lines


def _describe(parameter: Any) -> str:
    """`Int min_value=0 max_value=202 step=1`, with its conditions."""
    config = parameter.get_config()
    conditions = [
        f"{one['config']['name']} in {one['config']['values']}"
        for one in config.pop("conditions", [])
    ]
    config.pop("name")
    parts = [f"{name}={value!r}" for name, value in config.items() if value is not None]
    when = f" if {' and '.join(conditions)}" if conditions else ""
    return " ".join([type(parameter).__name__, *parts]) + when
