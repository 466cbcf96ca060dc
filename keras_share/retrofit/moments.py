"""What the kernels of a trained model meet: second moments of their inputs."""

import reprlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_share.flat.flat_graph import FlatGraph, Step
from keras_share.flat.flatten import flatten
from keras_share.flat.tensors import corresponding, replaced
from keras_share.layers.relax.kernel import Kernel, einsum_axes, kernel_of
from keras_share.layers.variable_map import VariableMap

BATCH = 64
# Of a kernel with more inputs the matrix would take more than 130 MB.
MAX_INPUTS = 4096
# Of the mean square of an input, so that those that are never met don't matter.
_RIDGE = 1e-3


@dataclass(frozen=True, eq=False)
class Moments:
    """The inputs of a kernel, as far as the best shared kernel depends on them.

    Attributes:
        kernel: The kernel.
        matrix: The sum of `x x^T` over all its inputs `x`, `(num_inputs, num_inputs)`.
    """

    kernel: Kernel
    matrix: np.ndarray


def input_moments(model: keras.Model, data: Any) -> VariableMap[Moments]:
    """The moments of the inputs of every kernel of a model, by its variable.

    Args:
        model: A built Sequential or Functional model.
        data: Samples of its inputs, as `model.predict` takes arrays.

    Raises:
        ValueError: If `data` are no arrays, or hold NaN or infinity.
    """
    graph = flatten(model, inference=True)
    found: VariableMap[Moments] = VariableMap()
    for batch in batches(data):
        for step, x in _kernel_inputs(graph, batch):
            kernel = kernel_of(step.op)
            assert kernel is not None
            rows = np.asarray(_rows(kernel, x), "float64")
            variable = step.stand_ins.of(kernel.variable)
            known = found[variable].matrix if variable in found else 0
            found[variable] = Moments(kernel, known + rows.T @ rows)
    return found


def batches(data: Any) -> Iterator[Any]:
    """Samples as arrays of at most `BATCH`; ValueError unless they are finite."""
    arrays = tree.map_structure(np.asarray, data)
    for array in tree.flatten(arrays):
        if array.ndim == 0 or not len(array) or array.dtype.kind in "OSU":
            raise ValueError(
                "`data` must be arrays of samples, one or more, as `model.predict` "
                "takes them: of a dataset a few batches, joined. "
                f"Received: {reprlib.repr(data)}"
            )
        if not np.all(np.isfinite(array)):
            raise ValueError(
                "`data` must be finite, as one kernel is fitted to all of it. "
                f"Received: NaN or infinity in an array of shape {array.shape}"
            )
    for first in range(0, len(tree.flatten(arrays)[0]), BATCH):
        yield tree.map_structure(lambda a, i=first: a[i : i + BATCH], arrays)


def closest(values: Sequence[np.ndarray], moments: Sequence[Moments]) -> np.ndarray:
    """The kernel whose outputs are closest to those of several, each on its inputs.

    `(sum_i C_i)^-1 sum_i C_i W_i` with the moments `C_i`: the least squares of
    RegMean (arXiv 2212.09849), there to merge models, here the sites of one. Where the
    sites met no inputs it is their mean.
    """
    kernel = moments[0].kernel
    weights = [np.asarray(kernel.to_matrix(v), "float64") for v in values]
    total = np.sum([m.matrix for m in moments], axis=0)
    ridge = _RIDGE * max(np.trace(total) / len(total), np.finfo("float32").tiny)
    each = ridge / len(moments) * np.eye(len(total))
    matrices = [m.matrix + each for m in moments]
    aims = [c @ w for c, w in zip(matrices, weights, strict=True)]
    best = np.linalg.solve(np.sum(matrices, axis=0), np.sum(aims, axis=0))
    return ops.convert_to_numpy(kernel.from_matrix(best.astype("float32")))


def _kernel_inputs(graph: FlatGraph, batch: Any) -> Iterator[tuple[Step, Any]]:
    """Runs a graph; yields the steps that have a kernel with what goes into them."""
    wanted, given = tree.flatten(graph.inputs), tree.flatten(batch)
    if len(wanted) != len(given):
        raise ValueError(
            f"`data` must be what the model takes, {len(wanted)} array(s), without "
            f"targets. Received: arrays of shapes {[a.shape for a in given]}"
        )
    found = dict(corresponding(graph.inputs, tree.map_structure(_tensor, batch)))
    for step in graph.steps:
        args, kwargs = replaced((step.args, step.kwargs), found)
        kernel = kernel_of(step.op) if isinstance(step.op, keras.Layer) else None
        if kernel is not None and kernel.num_inputs <= MAX_INPUTS:
            yield step, args[0]
        own = [(v, s.value) for v, s in step.stand_ins.items()]
        with keras.StatelessScope(own):
            outputs = step.op(*args, **kwargs)
        found.update(corresponding(step.outputs, outputs))


def _tensor(array: np.ndarray) -> Any:
    return ops.convert_to_tensor(array)


def _rows(kernel: Kernel, x: Any) -> np.ndarray:
    """The inputs of a kernel's matrix, one per row."""
    layer = kernel.layer
    if isinstance(layer, keras.layers.EinsumDense):
        letters, axes, _ = einsum_axes(layer)
        letters = letters.replace("...", "")
        summed = [letters.index(axes[axis]) - len(letters) for axis in kernel.inputs]
        rank = len(x.shape)
        last = [rank + axis for axis in summed]
        x = ops.transpose(x, [i for i in range(rank) if i not in last] + last)
    elif isinstance(layer, keras.layers.Dense):
        pass
    else:
        x = _patches(layer, x)
    return ops.convert_to_numpy(ops.reshape(x, (-1, kernel.num_inputs)))


def _patches(layer: keras.Layer, x: Any) -> Any:
    """What a convolution multiplies with its kernel at every place."""
    config = layer.get_config()
    sizes, strides, rates = (
        config[name] for name in ("kernel_size", "strides", "dilation_rate")
    )
    padding = config["padding"]
    if padding == "causal":
        x = ops.pad(x, ((0, 0), ((sizes[0] - 1) * rates[0], 0), (0, 0)))
        padding = "valid"
    if len(sizes) == 1:
        x = ops.expand_dims(x, 1)
        sizes, strides, rates = ((1, *each) for each in (sizes, strides, rates))
    if any(rate > 1 for rate in rates):
        strides = (1, 1)  # dilated patches can't be strided; a place more is no harm
    return ops.image.extract_patches(
        x, sizes, strides, rates, padding, data_format="channels_last"
    )
