"""Configs that refer to functions and objects of the user's own.

A config describes a layer in text. Of functions it has the name, of objects the name
of the class, and Keras finds them again only if they are known to it. Within a process
they can be passed on as they are.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import BuiltinFunctionType, FunctionType
from typing import Any

import keras

from keras_share.layers.sublayers import sublayers

_VALUES: ContextVar[dict[int, Any]] = ContextVar("values")
_KNOWN = ("keras", "keras_share")  # packages whose objects a config describes


@contextmanager
def config_by_reference(op: keras.Operation) -> Iterator[dict[str, Any]]:
    """The config of a layer or operation, for use in this context only.

    What the layer, and those inside of it, has of functions and objects that are not
    Keras's own is in the config as a `Reference`.
    """
    values: dict[int, Any] = {}
    parts = sublayers(op) if isinstance(op, keras.Layer) else [op]
    replaced = []
    try:
        for part in parts:
            for name, value in list(vars(part).items()):
                is_method = callable(getattr(type(part), name, None))
                stand_in = value if is_method else _stand_in(value, values)
                if stand_in is not value:
                    replaced.append((vars(part), name, value))
                    vars(part)[name] = stand_in
        config = op.get_config()
    finally:
        for attributes, name, value in replaced:
            attributes[name] = value
    token = _VALUES.set(values)
    try:
        yield config
    finally:
        _VALUES.reset(token)


def resolved(config: dict[str, Any]) -> dict[str, Any]:
    """A config with the values of references that its owner didn't serialize."""
    return keras.tree.map_structure(
        lambda x: x.value if isinstance(x, Reference) else x, config
    )


@keras.saving.register_keras_serializable(package="keras_share")
class Reference:
    """Stands for a function or an object while the config of its owner is made."""

    def __init__(self, value: Any):
        self.value = value

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.value(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Reference":
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.value, name)

    def get_config(self) -> dict[str, Any]:
        """What tells this value from others; two copies of one function are equal."""
        value = self.value
        code = getattr(value, "__code__", None)
        if code is None:
            return {"key": id(value), "is": repr((type(value), _state(value)))}
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        facts = (value.__module__, code.co_code, code.co_consts, code.co_names)
        return {"key": id(value), "is": repr((facts, value.__defaults__, cells))}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The value; an object that can be copied is, as it may have a seed."""
        value = _VALUES.get()[config["key"]]
        if not hasattr(value, "get_config") or isinstance(value, type):
            return value
        try:
            return type(value).from_config(value.get_config())
        except (AttributeError, NotImplementedError, TypeError):
            return value


def _state(value: Any) -> Any:
    return value if isinstance(value, type) else vars(value) or value


def _stand_in(value: Any, values: dict[int, Any]) -> Any:
    """A value with references in it; itself if it needs none."""
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        items = [_stand_in(x, values) for x in value]
        same = all(a is b for a, b in zip(items, value, strict=True))
        return value if same else type(value)(items)
    if isinstance(value, dict):
        found = {k: _stand_in(x, values) for k, x in value.items()}
        return value if all(found[k] is value[k] for k in value) else found
    if not _is_own(value):
        return value
    values[id(value)] = value
    return Reference(value)


def _is_own(value: Any) -> bool:
    """Whether a value is a function or an object that a config can't describe."""
    if isinstance(value, (keras.Layer, keras.Variable)):
        return False
    functions = (FunctionType, BuiltinFunctionType)
    if not (isinstance(value, functions) or callable(value) or _has_config(value)):
        return False
    module = getattr(value, "__module__", None) or type(value).__module__
    return module.split(".")[0] not in _KNOWN


def _has_config(value: Any) -> bool:
    return hasattr(type(value), "get_config")
