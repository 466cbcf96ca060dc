"""What a function or class does, as hashes that comments and line breaks don't change.

As in build systems, a definition is known by its own text and by that of everything
it refers to.
"""

import ast
import contextlib
import dis
import functools
import hashlib
import inspect
import sys
import textwrap
import types
from collections.abc import Iterator, Mapping
from typing import Any

_CODE = (type, types.FunctionType)
_LONGEST = 80
_CONSTANTS = (bool, int, float, complex, str, bytes, type(None))


def definitions(root: type | types.FunctionType) -> dict[str, str]:
    """What `root` and what it refers to in its own module are made of.

    Args:
        root: A function or a class.

    Returns:
        By qualified name: for functions and classes a hash of the syntax tree, without
        docstrings; for constants their value. Where the source is not at hand, as for
        code in `exec`, the hash is of the bytecode and changes with Python's version.
    """
    found: dict[str, str] = {}
    queue: list[tuple[str, Any]] = [(root.__qualname__, root)]
    while queue:
        name, thing = queue.pop()
        if name in found:
            continue
        if _is_constant(thing):
            found[name] = _text(thing)
        else:
            found[name] = _hash(thing)
            queue.extend(_references(thing, root.__module__))
    return dict(sorted(found.items()))


def description(thing: Any) -> dict[str, str]:
    """The code and the plain settings of anything that can be called.

    Args:
        thing: A function, a method, a `functools.partial` or an object: of an object
            the class counts, and those attributes that are plain values or functions.
    """
    if isinstance(thing, functools.partial):
        given = {**dict(enumerate(thing.args)), **thing.keywords}
        return {**description(thing.func), **_settings(given)}
    if isinstance(thing, types.MethodType):
        return description(thing.__self__)
    if isinstance(thing, _CODE):
        return definitions(thing)
    return {**definitions(type(thing)), **_settings(vars(thing))}


def _settings(attributes: Mapping[Any, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in attributes.items():
        if _is_constant(value):
            found[str(name)] = _text(value)
        elif isinstance(value, types.FunctionType):
            found.update(definitions(value))
    return found


def _is_constant(thing: Any) -> bool:
    if isinstance(thing, (tuple, list, set, frozenset)):
        return all(map(_is_constant, thing))
    if isinstance(thing, dict):
        return all(map(_is_constant, (*thing.keys(), *thing.values())))
    return isinstance(thing, _CONSTANTS)


def _text(constant: Any) -> str:
    """The value of a constant; of a long one a hash."""
    text = _ordered(constant)
    return text if len(text) <= _LONGEST else _digest(text)


def _ordered(constant: Any) -> str:
    if isinstance(constant, dict):
        items = (f"{_ordered(k)}: {_ordered(v)}" for k, v in constant.items())
        return f"{{{', '.join(items)}}}"
    if isinstance(constant, (set, frozenset)):
        # Python's order of a set of strings is another in every process.
        return f"{{{', '.join(sorted(map(_ordered, constant)))}}}"
    if isinstance(constant, (tuple, list)):
        return f"({', '.join(map(_ordered, constant))})"
    return repr(constant)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _hash(thing: Any) -> str:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
        if thing.__name__ == "<lambda>":
            # What stands beside it in the same line is none of its code.
            lambdas = (node for node in ast.walk(tree) if isinstance(node, ast.Lambda))
            tree = ast.Tuple([*lambdas], ast.Load())
        # Not `ast.dump`, whose output depends on Python's version.
        text = ast.unparse(_without_docstrings(tree))
    except (OSError, TypeError, SyntaxError):
        codes = [code for function in _functions(thing) for code in _codes(function)]
        text = f"{sys.version_info[:2]} " + "".join(map(_bytecode, codes))
    return _digest(text)


def _without_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef))
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            node.body = body[1:] or [ast.Pass()]
    return tree


def _bytecode(code: types.CodeType) -> str:
    """The operations of one code object; lines and addresses are left out."""
    return "\n".join(
        f"{step.opname} {_ordered(step.argval) if _is_constant(step.argval) else ''}"
        for step in dis.get_instructions(code)
    )


def _functions(thing: Any) -> list[types.FunctionType]:
    """A function itself, or all methods of a class."""
    if isinstance(thing, types.FunctionType):
        return [thing]
    members = [
        # Of a class method, a static method or a property.
        getattr(member, "__func__", getattr(member, "fget", member))
        for member in vars(thing).values()
    ]
    return [member for member in members if isinstance(member, types.FunctionType)]


def _codes(function: types.FunctionType) -> Iterator[types.CodeType]:
    """The code of a function and of those inside it."""
    queue = [function.__code__]
    while queue:
        code = queue.pop()
        yield code
        queue.extend(filter(inspect.iscode, code.co_consts))


def _references(thing: Any, module: str) -> Iterator[tuple[str, Any]]:
    """What a function or class refers to by name, if it is of the module."""
    named = {base.__name__: base for base in getattr(thing, "__bases__", ())}
    for function in _functions(thing):
        named |= _closure(function)
        known = function.__globals__
        for code in _codes(function):
            named |= {name: known[name] for name in code.co_names if name in known}
    for name, value in named.items():
        if _is_constant(value):
            if not name.startswith("__"):
                yield name, value
            continue
        inner = inspect.unwrap(value) if callable(value) else value
        if isinstance(inner, _CODE) and inner.__module__ == module:
            yield inner.__qualname__, inner


def _closure(function: types.FunctionType) -> dict[str, Any]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    found = {}
    for name, cell in cells:
        with contextlib.suppress(ValueError):  # not assigned yet
            found[name] = cell.cell_contents
    return found
