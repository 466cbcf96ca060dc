"""Carrying trained weights over to the layers of a new model."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_share.relax import Relaxed, fit
from keras_share.sublayers import sublayers
from keras_share.tied import Tied

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
    own = [{id(v): copy for v, copy in tie.private_copies} for tie in ties]
    for variable, *sources in zip(
        base.weights, *(member.weights for member in members), strict=True
    ):
        values = [_value(source) for source in sources]
        if all(id(variable) in copies for copies in own):
            variable.assign(values[0])
            for copies, value in zip(own, values[1:], strict=True):
                copies[id(variable)].assign(value)
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
    positions = {id(v): i for i, v in enumerate(base.weights)}
    order = [positions[id(r.kernel.variable)] for r in relaxed.relaxed_kernels]
    kernels = [[_value(member.weights[i]) for i in order] for member in members]
    fit([relaxed, *ties], kernels)


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
