"""Reading `representative_dataset`: samples of what a model will see."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import tree

from keras_share.flat.built_model import input_structure

Representative = Any | Callable[[], Iterable[Any]]


def samples(dataset: Representative, model: keras.Model) -> Iterator[list[np.ndarray]]:
    """Yields samples of batch size 1, each as one array per input of the model.

    Args:
        dataset: Arrays in the structure of the model's inputs, with samples along
            the first axis; or, as in TFLite, a function that returns an iterable of
            samples, each in that structure with a batch axis; or a
            `keras.utils.PyDataset`, as `fit` takes it.
        model: The model whose inputs the samples must fit.

    Raises:
        ValueError: If the dataset is empty, or a sample has another structure, shape
            or kind of values than the inputs, or values that are not finite.
    """
    if dataset is None:
        raise ValueError(
            "`representative_dataset` is needed: arrays like those the model is "
            "trained on (100 to 500 samples), or a function that yields samples."
        )
    rows: Iterable[Any]
    if isinstance(dataset, keras.utils.PyDataset):
        rows = _rows_of_batches(dataset, model)
    else:
        rows = dataset() if callable(dataset) else _rows(dataset, model)
    count = 0
    for count, row in enumerate(rows, start=1):
        yield _check(in_order(row, model), model, count - 1)
    if not count:
        raise ValueError(
            "`representative_dataset` must hold at least one sample. Received: none"
        )


def batches(
    dataset: Representative, model: keras.Model, batch_size: int
) -> Iterator[list[np.ndarray]]:
    """Yields the samples of `samples` in batches of up to `batch_size`.

    All batches of one shape have one size, to be traced once: samples of the last one
    repeat.
    """
    fixed = model.inputs[0].shape[0]
    pending: list[list[np.ndarray]] = []
    size = fixed

    def together() -> list[np.ndarray]:
        arrays = [np.concatenate(parts) for parts in zip(*pending, strict=True)]
        return [np.resize(a, (size or len(a), *a.shape[1:])) for a in arrays]

    for sample in samples(dataset, model):
        others = pending and [a.shape for a in pending[0]] != [a.shape for a in sample]
        if others or len(pending) == (fixed or batch_size):
            yield together()
            size = fixed if others else len(pending)
            pending = []
        pending.append(sample)
    if pending:
        yield together()


def random_sample(
    model: keras.Model, seed: int = 0, sizes: Sequence[int] = (1, 32, 256)
) -> list[np.ndarray]:
    """A sample of normal numbers (zeros and ones for integer inputs).

    Open axes have the first of `sizes` with which the model can be computed.
    """
    rng = np.random.default_rng(seed)
    size = _size_that_fits(model, sizes)
    arrays = []
    for x in model.inputs:
        shape = (1, *(size if dim is None else dim for dim in x.shape[1:]))
        if np.issubdtype(np.dtype(x.dtype), np.floating):
            arrays.append(rng.normal(size=shape).astype(x.dtype))
        else:
            arrays.append(rng.integers(0, 2, size=shape).astype(x.dtype))
    return arrays


def _size_that_fits(model: keras.Model, sizes: Sequence[int]) -> int:
    for size in sizes:
        shapes = [
            [1, *(size if dim is None else dim for dim in x.shape[1:])]
            for x in model.inputs
        ]
        inputs = [
            keras.KerasTensor(shape, x.dtype)
            for shape, x in zip(shapes, model.inputs, strict=True)
        ]
        try:
            model.compute_output_spec(
                tree.pack_sequence_as(input_structure(model), inputs)
            )
            return size
        except (ValueError, TypeError):  # such as an image smaller than a kernel
            continue
    return 1


def in_order(structure: Any, model: keras.Model) -> list[np.ndarray]:
    """Arrays in the order of the model's inputs; those of a dict by name, as in fit."""
    arrays = tree.flatten(structure)
    if isinstance(structure, Mapping):
        names = [x.name for x in model.inputs]
        if isinstance(getattr(model, "input", None), Mapping):
            places = {id(x): name for name, x in model.input.items()}
            names = [places[id(x)] for x in model.inputs]
        if set(structure) != set(names):
            raise ValueError(
                "A dict of samples must have the names of the model's inputs as keys "
                f"({names}). Received: {list(structure)}"
            )
        arrays = [structure[name] for name in names]
    if len(arrays) != len(model.inputs):
        raise ValueError(
            f"`representative_dataset` must give one array per input of the model "
            f"({len(model.inputs)}: {[x.name for x in model.inputs]}). "
            f"Received: {len(arrays)}. A list of numbers is no array: `np.asarray`."
        )
    return [np.asarray(array) for array in arrays]


def _rows_of_batches(
    dataset: keras.utils.PyDataset, model: keras.Model
) -> Iterator[list[np.ndarray]]:
    if dataset.num_batches is None:
        raise ValueError(
            "A `keras.utils.PyDataset` of samples must have an end. Pass a function "
            "that yields some of them, such as `lambda: (dataset[i][0][:1] for i in "
            f"range(100))`. Received: {type(dataset).__name__} with num_batches=None"
        )
    for i in range(dataset.num_batches):
        inputs, *_ = keras.utils.unpack_x_y_sample_weight(dataset[i])
        yield from _rows(inputs, model)


def _rows(dataset: Any, model: keras.Model) -> Iterator[list[np.ndarray]]:
    arrays = in_order(dataset, model)
    if any(a.dtype == object for a in arrays):
        raise ValueError(
            "`representative_dataset` must be arrays, or a function that returns an "
            "iterable of samples: wrap a generator or a tf.data.Dataset of single "
            f"samples as `lambda: dataset`. Received: {type(dataset).__name__}"
        )
    lengths = [len(a) if a.ndim else 0 for a in arrays]
    if len(set(lengths)) > 1:
        raise ValueError(
            "The arrays of `representative_dataset` must have equally many samples. "
            f"Received: {lengths}"
        )
    for i in range(lengths[0]):
        yield [a[i : i + 1] for a in arrays]


def fits(array: np.ndarray, x: keras.KerasTensor) -> bool:
    """Whether a sample has the sizes of an input that are known."""
    sizes = zip(x.shape[1:], array.shape[1:], strict=False)
    return array.ndim == len(x.shape) and all(dim in (None, n) for dim, n in sizes)


def has_open_sizes(model: keras.Model) -> bool:
    """Whether inputs of a model have open sizes beside the batch size."""
    return any(None in x.shape[1:] for x in model.inputs)


def warn_of_sizes(
    what: str, model: keras.Model, shapes: Sequence[Sequence[int]], stacklevel: int
) -> None:
    """Warns that `what` has the sizes of samples where a model leaves them open."""
    sizes = {
        x.name: tuple(shape[1:])
        for x, shape in zip(model.inputs, shapes, strict=True)
        if None in x.shape[1:]
    }
    warnings.warn(
        f"The {what} takes inputs of these sizes only: {sizes}. The model leaves them "
        "open, and operators in it must know them. For other sizes pass a "
        "`representative_dataset` that has them, or build the model for them: "
        "keras.Input((size, ...)).",
        stacklevel=stacklevel + 1,
    )


def _check(arrays: list[np.ndarray], model: keras.Model, index: int) -> list:
    received = f"Received: sample {index} of `representative_dataset` with"
    for array, x in zip(arrays, model.inputs, strict=True):
        if not fits(array, x):
            raise ValueError(
                f"Each sample must have the shape of the input '{x.name}', "
                f"{tuple(x.shape)}. {received} shape {array.shape}"
            )
        if not np.can_cast(array.dtype, np.dtype(x.dtype), "same_kind"):
            raise ValueError(
                f"Each sample must have values of the input '{x.name}', {x.dtype}. "
                f"{received} dtype {array.dtype}"
            )
        if not np.isfinite(array).all():
            raise ValueError(
                f"Samples must be finite. {received} NaN or infinity for '{x.name}'"
            )
    return [a.astype(x.dtype) for a, x in zip(arrays, model.inputs, strict=True)]
