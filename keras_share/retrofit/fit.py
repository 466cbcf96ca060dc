"""Carrying trained weights over to the layers of a new model."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_share.layers.copying import derive
from keras_share.layers.relax.kernel import Kernel
from keras_share.layers.relax.relaxed import RelaxedKernel
from keras_share.layers.sublayers import sublayers
from keras_share.layers.tied import block_of
from keras_share.layers.variable_map import VariableMap
from keras_share.retrofit.moments import Moments, closest

NO_MOMENTS: VariableMap[Moments] = VariableMap()
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
    finish(copy, layer)


@dataclass(frozen=True, eq=False)
class Use:
    """One use of a layer, whether it is the first, tied or relaxed.

    Attributes:
        form: Name and shape of each weight of the layer.
        variables: What this use has in place of each.
        kernels: The relaxed ones among them, by position.
    """

    form: list[tuple[str, tuple[int, ...]]]
    variables: list[keras.Variable]
    kernels: dict[int, RelaxedKernel]

    @classmethod
    def of(cls, layer: keras.Layer, bare: keras.Layer) -> "Use":
        """The use that a layer makes of the one in it, out of ties and relaxations."""
        own = VariableMap(getattr(layer, "private_copies", ()))
        block = block_of(layer)
        kernels = [] if block is bare else block.relaxed_kernels
        positions = VariableMap((v, i) for i, v in enumerate(bare.weights))
        return cls(
            form_of(bare.weights),
            [own.of(v) for v in bare.weights],
            {positions[k.kernel.variable]: k.replace(own) for k in kernels},
        )

    def values(self) -> list[np.ndarray]:
        """The weights that the use computes with, relaxations applied."""
        found: list[Any] = list(self.variables)
        for position, kernel in self.kernels.items():
            found[position] = kernel.value()
        return list(map(_value, found))


def form_of(weights: list[keras.Variable]) -> list[tuple[str, tuple[int, ...]]]:
    """Name and shape of each weight."""
    return [(v.name, tuple(v.shape)) for v in weights]


def carry_uses(
    pairs: Iterable[tuple[Use, Use]],
    init: str = "mean",
    moments: Mapping[keras.Variable, Moments] = NO_MOMENTS,
) -> list[Use]:
    """Gives uses of layers the weights of the uses that they stand for.

    What several uses share starts at the mean of theirs, or that of the first or last,
    and a kernel of whose inputs the moments are known at the closest one; their
    relaxations start as close to their own kernels as they allow.

    Args:
        pairs: A use and the trained one whose weights it should compute with.
        init: One of `INITS`.
        moments: Of the trained kernels.

    Returns:
        The uses that have several relaxations of one kernel, which can't be fitted.
    """
    starts: VariableMap[list[np.ndarray]] = VariableMap()
    met: VariableMap[list[Moments | None]] = VariableMap()
    groups: dict[Hashable, list[tuple[RelaxedKernel, np.ndarray]]] = {}
    unfit = []
    for use, source in pairs:
        values = source.values()
        for variable, old, value in zip(
            use.variables, source.variables, values, strict=True
        ):
            starts.setdefault(variable, []).append(value)
            met.setdefault(variable, []).append(moments.get(old))
        for position, kernel in use.kernels.items():
            if len(kernel.chain) > 1:
                unfit.append(use)
            else:
                group = groups.setdefault(_group(kernel), [])
                group.append((kernel, values[position]))
    for variable, values in starts.items():
        variable.assign(merged(values, met[variable], init))
    for group in groups.values():
        kernels, values = zip(*group, strict=True)
        # With nothing to add, both factors of `LowRank` would be zero and not train.
        same = all(np.array_equal(value, values[0]) for value in values)
        if not (same and kernels[0].chain[0].additive):
            _fit(kernels, values)
    return unfit


def _group(use: RelaxedKernel) -> Hashable:
    """What the uses of one relaxed kernel have in common."""
    [relaxation], [weights] = use.chain, use.weights
    if not relaxation.replaces_kernel:
        return id(use.shared)
    specs = relaxation.weights(use.kernel, 0, 1)
    shared = tuple(id(v) for name, v in weights.items() if specs[name].shared)
    return shared or id(weights)


def _fit(uses: Sequence[RelaxedKernel], kernels: Sequence[np.ndarray]) -> None:
    """Starts the relaxation of a shared kernel at a kernel for each of its uses."""
    first = uses[0]
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


def merged(
    values: Sequence[np.ndarray], moments: Sequence[Moments | None], init: str = "mean"
) -> np.ndarray:
    """One value for several: the closest by their moments, if all are known.

    Else their mean (of numbers with a fraction), or the first or last.
    """
    known = [m for m in moments if m is not None]
    if len(known) == len(values) > 1 and init == "mean":
        return closest(values, known)
    if init == "last":
        return values[-1]
    dtype = keras.backend.standardize_dtype(values[0].dtype)
    if init == "first" or not keras.backend.is_float_dtype(dtype):
        return values[0]
    return np.mean(values, axis=0, dtype="float64")


def finish(copy: keras.Layer, layer: keras.Layer) -> None:
    """Freezes in a copy what is frozen in a layer; derives what weights are for."""
    # Outer layers come first, as they set those inside.
    for new, old in zip(sublayers(copy), sublayers(layer), strict=False):
        if new.trainable != old.trainable:
            new.trainable = old.trainable
    derive(copy)


def _value(source: Any) -> np.ndarray:
    # A real copy: JAX donates the buffers of a model that trains.
    return np.array(keras.ops.convert_to_numpy(source))
