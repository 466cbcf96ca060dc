"""What a search is a search of, so that it goes on only with the same."""

import ast
import functools
import hashlib
import inspect
import json
import os
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras_tuner as kt

from keras_share.search.project.study import Project

# What is compared, by part and name.
Identity = dict[str, dict[str, Any]]

_NOTE = "search"
_PLAIN = (bool, int, float, str, type(None))


def identity(
    space: kt.HyperParameters,
    code: Mapping[str, Any],
    settings: Mapping[str, Any],
    arguments: Mapping[str, Any],
) -> Identity:
    """The identity of a search: today's hyperparameters and code, and plain arguments.

    The settings are what of the tuner's arguments scores and sizes depend on; of the
    arguments of `search` only plain values count, data do not.
    """
    found = {
        "search space": {p.name: _describe(p) for p in space.space},
        "code": dict(code),
        "arguments of the tuner": {n: _plain(v) for n, v in settings.items()},
        "arguments of `search`": {
            name: value for name, value in arguments.items() if _is_plain(value)
        },
    }
    return json.loads(json.dumps(found))


def agree(project: Project, now: Identity, on_change: str) -> bool:
    """Notes what a search is, or what of it changed; returns whether anything did.

    Raises:
        ValueError: If something changed and `on_change` is `"refuse"`.
    """
    before = project.notes.get(_NOTE)
    changes = [] if before is None else differences(before, now)
    if changes and project.trials() and on_change == "refuse":
        raise ValueError(
            "A search that goes on must be the same as before, or its trials can't be "
            f"compared. Changed since {str(project.folder)!r} was begun:\n"
            + "".join(f"  {change}\n" for change in changes)
            + "Undo this, choose another `project_name`, pass `overwrite=True` to "
            'delete the earlier trials, or `on_change="continue"` to go on with them.'
        )
    if changes or before is None:
        project.note(_NOTE, now)
    return bool(changes)


def differences(before: Identity, now: Identity) -> list[str]:
    """What changed from one identity to the other, one line for each change."""
    lines = []
    for part, new in now.items():
        old = before.get(part, {})
        for name in dict.fromkeys([*old, *new]):
            if name not in new:
                lines.append(f"{part}: {name} is gone (was {old[name]})")
            elif name not in old:
                lines.append(f"{part}: {name} is new ({new[name]})")
            elif old[name] != new[name]:
                lines.append(f"{part}: {name}: {old[name]} -> {new[name]}")
    return lines


def code_of(hypermodel: Any) -> dict[str, Any]:
    """A hash of the function or class that builds models, and its plain attributes.

    Only its own text counts, without comments and line breaks: not what it calls.
    """
    if hypermodel is None:
        return {}
    build = hypermodel.build
    root: Any = type(hypermodel)
    if getattr(build, "__self__", None) is not hypermodel:
        while isinstance(build, functools.partial):
            build = build.func
        root = build if inspect.isfunction(build) else type(build)
    try:
        text = ast.unparse(ast.parse(textwrap.dedent(inspect.getsource(root))))
    except (OSError, TypeError, SyntaxError):  # it has none, or is part of a statement
        text = root.__qualname__
    plain = {n: v for n, v in sorted(vars(hypermodel).items()) if _is_plain(v)}
    return {**plain, root.__qualname__: hashlib.sha256(text.encode()).hexdigest()[:16]}


def _is_plain(value: Any) -> bool:
    return isinstance(value, _PLAIN)


def _plain(value: Any) -> Any:
    """A setting as a value of JSON: of a file its name, as it may lie elsewhere."""
    if isinstance(value, Mapping):
        plain = {n: v for n, v in sorted(value.items()) if _is_plain(v)}
        return ", ".join(f"{n}={v!r}" for n, v in plain.items())
    if isinstance(value, (str, os.PathLike)):
        return Path(value).name
    return value if _is_plain(value) else f"a {type(value).__name__}"


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
