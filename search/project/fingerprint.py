"""What a search is a search of, so that it goes on only with the same."""

import json
import os
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import keras_tuner as kt

from keras_share.atomic import write_atomically
from keras_share.search.project import saved
from keras_share.search.project.source import description

Fingerprint = dict[str, dict[str, Any]]

_FILE = "search.json"
_PLAIN = (bool, int, float, str, type(None))
_PARTS = {
    "space": "search space",
    "objective": "objective",
    "code": "code",
    "tuner": "arguments of the tuner",
    "fit": "arguments of `search`",
}


def take(
    space: kt.HyperParameters,
    objectives: Sequence[kt.Objective],
    code: Mapping[str, str],
    settings: Mapping[str, Any],
    arguments: Mapping[str, Any],
) -> Fingerprint:
    """The fingerprint of a search.

    Args:
        space: The hyperparameters as declared by today's hypermodel.
        objectives: The objectives of the search.
        code: What `code_of` says of the hypermodel.
        settings: What `settings_of` says of the tuner.
        arguments: The arguments of `search`; only plain values count, data do not.
    """
    return {
        "space": {p.name: _describe(p) for p in space.space},
        "objective": {one.name: one.direction for one in objectives},
        "code": dict(code),
        "tuner": dict(settings),
        "fit": {n: v for n, v in arguments.items() if isinstance(v, _PLAIN)},
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


def settings_of(
    export: Mapping[str, Any] | None,
    inherit: Any,
    executions: int,
    limits: Mapping[str, float],
) -> dict[str, Any]:
    """What of a tuner's arguments scores and sizes depend on, or what is rejected.

    Args:
        export: How trials are exported; None if they are not.
        inherit: The donor of weights, or None. Of a file its name counts: it may lie
            elsewhere for a worker.
        executions: How often each trial is trained.
        limits: The most that measures may be.
    """
    found: dict[str, Any] = {"inherit": None, "export": None}
    found["executions_per_trial"] = executions
    if inherit is not None:
        is_path = isinstance(inherit, (str, os.PathLike))
        found["inherit"] = Path(inherit).name if is_path else "a model"
    if export is not None:
        plain = {n: v for n, v in sorted(export.items()) if isinstance(v, _PLAIN)}
        found["export"] = ", ".join(f"{n}={v!r}" for n, v in plain.items())
    return {**found, **{f"limit of {name}": most for name, most in limits.items()}}


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
        ValueError: If the space, the objectives, the code or the arguments changed.
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
        new = json.loads(json.dumps(now[part]))
        old = before.get(part, new)
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
