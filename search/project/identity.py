"""What a search is a search of, so that it goes on only with the same."""

import ast
import functools
import hashlib
import inspect
import json
import os
import textwrap
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras_tuner as kt

from keras_share.search.project.study import Project

Identity = dict[str, dict[str, Any]]

_NOTE = "search"
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
) -> Identity:
    """The identity of a search.

    Args:
        space: The hyperparameters as declared by today's hypermodel.
        objectives: The objectives of the search.
        code: What `code_of` says of the hypermodel.
        settings: What `settings_of` says of the tuner.
        arguments: The arguments of `search`; only plain values count, data do not.
    """
    found = {
        "space": {p.name: _describe(p) for p in space.space},
        "objective": {one.name: one.direction for one in objectives},
        "code": dict(code),
        "tuner": dict(settings),
        "fit": {n: v for n, v in arguments.items() if isinstance(v, _PLAIN)},
    }
    return json.loads(json.dumps(found))


def agree(project: Project, now: Identity, on_change: str) -> bool:
    """Checks that a search goes on with what it began with, or notes the change.

    Returns:
        Whether something changed.

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
    for part, title in _PARTS.items():
        old, new = before[part], now[part]
        for name in dict.fromkeys([*old, *new]):
            if name not in new:
                lines.append(f"{title}: {name} is gone (was {old[name]})")
            elif name not in old:
                lines.append(f"{title}: {name} is new ({new[name]})")
            elif old[name] != new[name]:
                lines.append(f"{title}: {name}: {old[name]} -> {new[name]}")
    return lines


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
            elsewhere for another process.
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


def code_of(hypermodel: kt.HyperModel) -> dict[str, str]:
    """The code of a hypermodel, and its plain settings.

    Counted are its source text, without comments, docstrings and line breaks, and that
    of the functions and classes of the same file which it names, and they name in turn;
    what has no source counts as its name.

    Returns:
        A hash for each function and class by name, and each plain attribute.
    """
    build: Any = hypermodel.build
    root: Any = type(hypermodel)
    if getattr(build, "__self__", None) is not hypermodel:
        while isinstance(build, functools.partial):
            build = build.func
        root = build if isinstance(build, types.FunctionType) else type(build)
    plain = {n: repr(v) for n, v in vars(hypermodel).items() if isinstance(v, _PLAIN)}
    found: dict[str, str] = {}
    queue = [root]
    while queue:
        thing = queue.pop()
        if thing.__qualname__ in found or thing.__module__ != root.__module__:
            continue
        tree = _tree(thing)
        text = ast.unparse(tree)
        found[thing.__qualname__] = hashlib.sha256(text.encode()).hexdigest()[:16]
        names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
        known = _globals(thing)
        queue += [known[n] for n in names if isinstance(known.get(n), _CODE)]
    return dict(sorted({**plain, **found}.items()))


_CODE = (type, types.FunctionType)


def _globals(thing: Any) -> dict[str, Any]:
    functions = [thing, *vars(thing).values()]
    return {
        name: value
        for one in functions
        if isinstance(one, types.FunctionType)
        for name, value in one.__globals__.items()
    }


def _tree(thing: Any) -> ast.AST:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    except (OSError, TypeError, SyntaxError):  # it has none, or is part of a statement
        return ast.Constant(thing.__qualname__)
    for node in ast.walk(tree):
        documented = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    return tree


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
