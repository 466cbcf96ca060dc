"""`Use`: a call that is to be flattened."""

from dataclasses import dataclass, replace
from typing import Any

import keras

from keras_share.flat.names import stable_name
from keras_share.layers.relax.relaxed import RelaxedKernel
from keras_share.layers.variable_map import VariableMap


@dataclass(frozen=True, eq=False)
class Use:
    """A call of a layer or operation.

    Attributes:
        op: The layer or operation.
        args: Positional arguments.
        kwargs: Keyword arguments.
        prefix: The path of what makes the call; None for the model itself.
        stand_ins: What is used in place of variables: other variables, and a
            `RelaxedKernel` for a kernel that is relaxed.
    """

    op: keras.Operation
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    prefix: str | None
    stand_ins: VariableMap

    @property
    def path(self) -> str:
        """Where in the model this call stands."""
        name, whole = stable_name(self.op), self.prefix or ""
        if whole.split(".")[-1] == name:
            return whole  # what a layer of this name mainly runs
        return f"{whole}.{name}" if whole else name

    @property
    def own(self) -> VariableMap:
        """The stand-ins for variables of the layer itself."""
        variables = self.op.variables if isinstance(self.op, keras.Layer) else []
        found = self.stand_ins
        return VariableMap((v, found[v]) for v in variables if v in found)

    @property
    def relaxed(self) -> RelaxedKernel | None:
        """The kernel of the layer, if it is relaxed."""
        kernels = (x for x in self.own.values() if isinstance(x, RelaxedKernel))
        return next(kernels, None)

    def inside(self, op: keras.Operation, **changes: Any) -> "Use":
        """A call of a part, with the same arguments but for `changes`."""
        return replace(self, op=op, **{"prefix": self.path, **changes})


class WeightOf(keras.KerasTensor):
    """Stands for a weight of a layer that is open, until a step needs it.

    Args:
        variable: The weight.
        owner: Its layer.
        like: A tensor that the layer was called on.
        of_one_layer: Whether all that read it do what one layer does that has it.
    """

    def __init__(
        self,
        variable: keras.Variable,
        owner: keras.Layer,
        like: keras.KerasTensor,
        of_one_layer: bool,
    ):
        super().__init__(tuple(variable.shape) or (1,), variable.dtype)
        self.variable = variable
        self.owner = owner
        self.like = like
        self.of_one_layer = of_one_layer
