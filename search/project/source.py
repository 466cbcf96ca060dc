"""The code that a hypermodel is made of, so that a search sees when it changes."""

import ast
import contextlib
import functools
import hashlib
import inspect
import json
import sys
import textwrap
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_CODE = (type, types.FunctionType)
_LONGEST = 80


def description(thing: Any) -> dict[str, str]:
    """The code and the plain settings of anything that can be called.

    Its code are the functions, classes and plain values that it names, and those that
    they name in turn, as far as they stand in Python files under the folder of the
    file it is defined in: helper modules are seen, libraries elsewhere are not. Nor is
    what is found in other ways than by its name, such as files of settings, and code
    that has no file. Comments, docstrings and line breaks don't count.

    Args:
        thing: A function, a method, a class, a `functools.partial`, or an object: of an
            object the class counts, and those attributes that are plain or functions.

    Returns:
        By name: of plain values the JSON text, else a hash of the source text.
    """
    if isinstance(thing, functools.partial):
        given = {**{str(i): a for i, a in enumerate(thing.args)}, **thing.keywords}
        return {**description(thing.func), **_settings(given)}
    if isinstance(thing, types.MethodType):
        return description(thing.__self__)
    if isinstance(thing, _CODE):
        return _definitions(thing)
    return {**_definitions(type(thing)), **_settings(vars(thing))}


def _settings(attributes: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in attributes.items():
        if isinstance(value, types.FunctionType):
            found.update(_definitions(value))
        else:
            found.update(_plain(name, value))
    return found


def _definitions(root: Any) -> dict[str, str]:
    folder = _folder(root)
    if folder is None:
        return {}
    found: dict[str, str] = {}
    queue = [(root.__qualname__, root)]
    while queue:
        name, thing = queue.pop()
        if isinstance(thing, _CODE) and _is_inside(thing, folder):
            own = thing.__module__ == root.__module__
            name = "" if own else f"{thing.__module__}."
            name += thing.__qualname__
            if name not in found:
                tree = _tree(thing)
                found[name] = _digest(ast.unparse(tree))
                queue += _named(thing, tree, folder)
        else:
            found.update(_plain(name, thing))
    return dict(sorted(found.items()))


def _folder(thing: Any) -> Path | None:
    try:
        file = inspect.getsourcefile(thing)
    except (TypeError, OSError):
        file = None
    # None if it is built in, or was made without a file.
    return Path(file).resolve().parent if file else None


def _is_inside(thing: Any, folder: Path) -> bool:
    own = _folder(thing)
    if own is None or not own.is_relative_to(folder):
        return False
    # A virtual environment lies beside many a script.
    return "site-packages" not in own.relative_to(folder).parts


def _plain(name: str, value: Any) -> dict[str, str]:
    """A value as JSON, of a long one a hash; nothing of one that is no plain value."""
    try:
        text = json.dumps(value, sort_keys=True, default=_sorted)
    except (TypeError, ValueError):
        return {}
    return {name: text if len(text) <= _LONGEST else _digest(text)}


def _sorted(value: Any) -> list[str]:
    # Python's order of a set of strings is another in every process.
    if isinstance(value, (set, frozenset)):
        return sorted(map(repr, value))
    raise TypeError


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _tree(thing: Any) -> ast.AST:
    text = textwrap.dedent(inspect.getsource(thing))
    try:
        tree = ast.parse(text)
    except SyntaxError:  # the lines of a lambda may be a part of a statement
        return ast.Constant(text)
    if thing.__name__ == "<lambda>":
        # What stands beside it in the same line is none of its code.
        lambdas = (node for node in ast.walk(tree) if isinstance(node, ast.Lambda))
        return ast.Tuple([*lambdas], ast.Load())
    for node in ast.walk(tree):
        documented = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    return tree


def _named(thing: Any, tree: ast.AST, folder: Path) -> Iterator[tuple[str, Any]]:
    """What a function or class names in its text."""
    module = sys.modules.get(
        thing.__module__
    )  # none of a file that was run by its path
    known = dict(vars(module)) if module else {}
    for function in [thing, *vars(thing).values()]:
        if isinstance(function, types.FunctionType):
            known |= function.__globals__
            cells = zip(
                function.__code__.co_freevars, function.__closure__ or (), strict=True
            )
            for name, cell in cells:
                with contextlib.suppress(ValueError):  # not assigned yet
                    known[name] = cell.cell_contents
    for node in ast.walk(tree):
        if isinstance(node, (ast.Name, ast.Attribute)):
            value = _value(node, known, folder)
            if value is not None:
                yield ast.unparse(node), inspect.unwrap(value)


def _value(node: ast.AST, known: Mapping[str, Any], folder: Path) -> Any:
    """What `name` or `module.name` stands for, None for nothing that counts."""
    if isinstance(node, ast.Name):
        return None if node.id.startswith("__") else known.get(node.id)
    if isinstance(node, ast.Attribute):
        module = _value(node.value, known, folder)
        if isinstance(module, types.ModuleType) and _is_inside(module, folder):
            return getattr(module, node.attr, None)
    return None
