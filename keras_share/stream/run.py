"""Running a model of one step over whole sequences."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_share.flat.states import state_names


def initial_states(model: keras.Model, batch_size: int = 1) -> dict[str, np.ndarray]:
    """The states of a model from `keras_share.streaming` before its first step.

    Args:
        model: The model.
        batch_size: Number of streams that run at once.

    Returns:
        An array of zeros for each state, by name.

    Raises:
        ValueError: If the model's inputs and outputs have no names.
    """
    takes = _takes(model)
    return {
        name: np.zeros((batch_size, *takes[name].shape[1:]), takes[name].dtype)
        for name in state_names(takes, model.output)
    }


def steps(model: keras.Model, sequences: Any) -> Iterator[dict[str, np.ndarray]]:
    """Runs sequences in steps, and yields what the model takes at each of them.

    These are the samples of a streaming model, with states as they really are: pass
    `lambda: steps(model, sequences)` as `representative_dataset` of `quantize_model` or
    `export_tflite`.

    Args:
        model: A model from `keras_share.streaming`.
        sequences: Arrays with samples along the first and time along the second axis,
            by the names of the inputs; for one input an array will do. All samples
            begin with states of zeros and run at once, and frames at the end that fill
            no step are left out. An array of the very shape that one step has, beside
            longer ones, is no sequence: each step takes the whole.

    Yields:
        The inputs and states of a step, as arrays with a batch axis of 1.

    Raises:
        ValueError: If the names or shapes don't fit the model.
    """
    for inputs, _ in _steps(model, sequences):
        size = len(next(iter(inputs.values())))
        for i in range(size):
            yield {name: x[i : i + 1] for name, x in inputs.items()}


def run(model: keras.Model, sequences: Any) -> dict[str, np.ndarray]:
    """Runs sequences in steps, and returns the outputs of all of them.

    Args:
        model: A model from `keras_share.streaming`.
        sequences: As in `steps`.

    Returns:
        The outputs by name. Those with three axes or more are joined along the second,
        of which the first `keras_share.stream.delays` frames are to be left out; of
        others the second axis tells the step.

    Raises:
        ValueError: If the names or shapes don't fit the model.

    Example:
    >>> import keras, keras_share, numpy as np
    >>> model = keras.Sequential(
    ...     [keras.Input((None, 8)), keras.layers.GRU(4, return_sequences=True)]
    ... )
    >>> x = np.random.default_rng(0).normal(size=(3, 10, 8)).astype("float32")
    >>> outputs = keras_share.stream.run(keras_share.streaming(model, step=2), x)
    >>> np.allclose(outputs["output"], model(x), atol=1e-5)
    True
    """
    found: dict[str, list[np.ndarray]] = {}
    for _, outputs in _steps(model, sequences):
        for name, y in outputs.items():
            found.setdefault(name, []).append(y)
    return {
        name: np.concatenate(ys, axis=1) if ys[0].ndim > 2 else np.stack(ys, axis=1)
        for name, ys in found.items()
    }


def _steps(
    model: keras.Model, sequences: Any
) -> Iterator[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """The inputs and outputs of each step."""
    takes = _takes(model)
    states = state_names(takes, model.output)
    names = [name for name in takes if name not in states]
    if not isinstance(sequences, Mapping):
        sequences = dict(zip(names, [sequences], strict=False))
    arrays = {name: np.asarray(x) for name, x in sequences.items()}
    if set(arrays) != set(names) or not all(
        _fits(x, takes[name].shape) for name, x in arrays.items()
    ):
        wanted = {name: ("samples", "time", *takes[name].shape[2:]) for name in names}
        given = {name: x.shape for name, x in arrays.items()}
        raise ValueError(f"Sequences must have the shapes {wanted}. Received: {given}")
    moving = {n: x for n, x in arrays.items() if x.shape[1] > takes[n].shape[1]}
    counts = {x.shape[1] // takes[n].shape[1] for n, x in (moving or arrays).items()}
    sizes = {len(x) for x in arrays.values()}
    if len(counts) > 1 or len(sizes) > 1:
        raise ValueError(
            "Sequences must have equally many samples, of equally many frames. "
            f"Received: shapes {[x.shape for x in arrays.values()]}"
        )
    state = initial_states(model, *sizes)
    for i in range(*counts):
        inputs: dict[str, Any] = {**arrays, **state}
        for name, x in (moving or arrays).items():
            frames = takes[name].shape[1]
            inputs[name] = x[:, i * frames : (i + 1) * frames]
        outputs = model.predict_on_batch(inputs)
        state = {name: outputs.pop(name) for name in states}
        yield inputs, outputs


def _takes(model: keras.Model) -> dict[str, keras.KerasTensor]:
    """The inputs of a model of one step by name."""
    takes = getattr(model, "input", None)  # a Sequential model need not have one
    if not isinstance(takes, Mapping) or not isinstance(model.output, Mapping):
        raise ValueError(
            "A model of one step is needed, as `keras_share.streaming` makes. "
            f"Received: the model '{model.name}', whose inputs or outputs have no names"
        )
    return dict(takes)


def _fits(x: np.ndarray, shape: tuple[int | None, ...]) -> bool:
    """Whether an array holds one step at least of an input."""
    return x.ndim == len(shape) and x.shape[2:] == shape[2:] and x.shape[1] >= shape[1]
