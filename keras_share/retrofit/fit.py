"""Carrying trained weights over to the layers of a new model."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_share.layers.relax.kernel import Kernel
from keras_share.layers.relax.relaxed import Relaxed, RelaxedKernel
from keras_share.layers.sublayers import sublayers
from keras_share.layers.tied import Tied
from keras_share.layers.variable_map import VariableMap

INITS = ("mean", "first", "last")


def check_init(init: Any) -> None:
    """Raises ValueError unless `init` is one of `INITS`."""
    if init not in INITS:
        raise ValueError(
            f"`init` must be one of {', '.join(map(repr, INITS))}. "
            f"Received: init={init!r}"
        )


def carry(
    copy: keras.Layer,
    layer: keras.Layer,
    sources: Sequence[Any] | None = None,
) -> None:
    """Gives a built copy of a layer its weights, or the values in `sources` for them.

    What is frozen inside the layer, of which its config doesn't tell, is frozen in the
    copy.
    """
    sources = layer.weights if sources is None else sources
    for variable, source in zip(copy.weights, sources, strict=True):
        variable.assign(_value(source))
    _finish(copy, layer)


def carry_group(
    base: keras.Layer, ties: Sequence[Tied], members: Sequence[keras.Layer], init: str
) -> None:
    """Gives a tied group the values of the layers that it stands for.

    Args:
        base: The layer that the group shares, in place of the first member.
        ties: Its further uses, one per further member.
        members: The layers whose values are taken. Of what the uses keep for
            themselves each has its member's; of what they share all have the mean, or
            that of the first or last member.
        init: One of `INITS`.
    """
    own = [VariableMap(tie.private_copies) for tie in ties]
    for variable, *sources in zip(
        base.weights, *(member.weights for member in members), strict=True
    ):
        values = [_value(source) for source in sources]
        if all(variable in copies for copies in own):
            variable.assign(values[0])
            for copies, value in zip(own, values[1:], strict=True):
                copies[variable].assign(value)
        else:
            variable.assign(merge(values, init))
    _finish(base, members[0])


def fit_group(
    relaxed: Relaxed,
    base: keras.Layer,
    ties: Sequence[Tied],
    members: Sequence[keras.Layer],
) -> None:
    """Starts the relaxations of a tied group at what its members' kernels were.

    Args:
        relaxed: The layer that the group shares.
        base: The layer inside of it, with the weights that the group shares.
        ties: Its further uses, one per further member.
        members: The layers that the group stands for.
    """
    own = [VariableMap(tie.private_copies) for tie in ties]
    rows = zip(*(member.weights for member in members), strict=True)
    values = VariableMap(zip(base.weights, rows, strict=True))
    for kernel in relaxed.relaxed_kernels:
        fit_kernel(
            [kernel, *map(kernel.replace, own)],
            [_value(value) for value in values[kernel.kernel.variable]],
        )


def fit_kernel(uses: Sequence[RelaxedKernel], kernels: Sequence[np.ndarray]) -> None:
    """Starts the relaxation of a shared kernel at a kernel for each of its uses.

    Args:
        uses: The uses of the kernel, which has its value.
        kernels: The kernel that each of them should have.

    Raises:
        ValueError: If the kernel has several relaxations.
    """
    first = uses[0]
    if len(first.chain) > 1:
        raise ValueError(
            "Trained weights can be fitted by one relaxation per kernel. Received: "
            f"{list(first.chain)} for '{first.kernel.layer.name}'"
        )
    [relaxation], kernel = first.chain, first.kernel
    found = relaxation.fit(
        _matrix(kernel, first.shared), [_matrix(kernel, value) for value in kernels]
    )
    if found is None:
        return
    base, shared, sites = found
    first.shared.assign(kernel.from_matrix(base))
    for use, values in zip(uses, sites, strict=True):
        for name, value in {**shared, **values}.items():
            variable = use.weights[0][name]
            variable.assign(_shaped(value, variable, kernel))


def _matrix(kernel: Kernel, value: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(kernel.to_matrix(value)), "float32")


def _shaped(value: np.ndarray, variable: keras.Variable, kernel: Kernel) -> Any:
    if variable.shape == kernel.variable.shape:
        return kernel.from_matrix(value)
    return value.reshape(variable.shape)


def merge(values: Sequence[np.ndarray], init: str) -> np.ndarray:
    """One value for several: their mean (of numbers with a fraction), first or last."""
    if init == "last":
        return values[-1]
    dtype = keras.backend.standardize_dtype(values[0].dtype)
    if init == "first" or not keras.backend.is_float_dtype(dtype):
        return values[0]
    return np.mean(values, axis=0, dtype="float64")


def _finish(copy: keras.Layer, layer: keras.Layer) -> None:
    # Outer layers come first, as they set those inside.
    for new, old in zip(sublayers(copy), sublayers(layer), strict=False):
        if new.trainable != old.trainable:
            new.trainable = old.trainable
    if hasattr(copy, "finalize_state"):
        # Preprocessing layers compute with what they derive from weights.
        copy.finalize_state()


def _value(source: Any) -> np.ndarray:
    # A real copy: JAX donates the buffers of a model that trains.
    return np.array(keras.ops.convert_to_numpy(source))
