"""`WeightArguments`: Keras's arguments for the weights of a layer of layers."""

from typing import Any, ClassVar

import keras

_ROLES = {
    "initializer": keras.initializers,
    "regularizer": keras.regularizers,
    "constraint": keras.constraints,
}


class WeightArguments(keras.Layer):
    """A layer that takes an initializer, a regularizer and a constraint per kind.

    A subclass names the kinds of its weights, each with its initializer. For the kind
    `"kernel"`, its arguments, attributes and entries of the config are then
    `kernel_initializer`, `kernel_regularizer` and `kernel_constraint`, as in Keras's
    own layers.

    As in a layer that is called twice, a regularizer adds its loss once for each
    weight, not once for each use: once for a weight that sites share, and once for
    each private copy. An `activity_regularizer` counts at each use.
    """

    weight_kinds: ClassVar[dict[str, str]] = {
        "kernel": "glorot_uniform",
        "bias": "zeros",
    }

    def __init__(self, **kwargs: Any):
        values = {
            name: _ROLES[role].get(kwargs.pop(name, default))
            for name, role, default in self._names()
        }
        super().__init__(**kwargs)
        for name, value in values.items():
            setattr(self, name, value)

    @classmethod
    def _names(cls) -> list[tuple[str, str, str | None]]:
        """The name of each argument, its role and its default."""
        return [
            (f"{kind}_{role}", role, initializer if role == "initializer" else None)
            for kind, initializer in cls.weight_kinds.items()
            for role in _ROLES
        ]

    def weight_arguments(self, **prefixes: str) -> dict[str, Any]:
        """The arguments for a sublayer, by the prefix that it has for each kind.

        `weight_arguments(kernel="depthwise_")` is for a `DepthwiseConv2D`.
        """
        arguments = {}
        for kind, prefix in prefixes.items():
            for role in _ROLES:
                value = getattr(self, f"{kind}_{role}")
                if isinstance(value, keras.Initializer):
                    # It draws the same values at each use; a clone draws its own.
                    value = value.clone()
                arguments[prefix + role] = value
        return arguments

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the layer."""
        return {
            **super().get_config(),
            **{
                name: _ROLES[role].serialize(getattr(self, name))
                for name, role, _ in self._names()
            },
        }
