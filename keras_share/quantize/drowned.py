"""`warn_of_drowned`: whether a quantized model computes what its original does."""

import math
import warnings

import keras
import numpy as np
from keras import tree

from keras_share.flat.built_model import input_structure
from keras_share.flat.flatten import flatten
from keras_share.layers.recurrent import traced_once
from keras_share.layers.sublayers import sublayers
from keras_share.quantize.calibration import rounded_by
from keras_share.quantize.fake_quantize import FakeQuantize
from keras_share.quantize.look_up import LookUp
from keras_share.quantize.quantize_weights import QuantizeWeights
from keras_share.quantize.representative import Representative, batches

LEAST_RATIO = 10.0  # decibels of signal to noise
_STEPS = 2.01  # of an output's integers are no fault, however small the signal


def warn_of_drowned(
    model: keras.Model, quantized: keras.Model, dataset: Representative
) -> None:
    """Warns of outputs that rounding drowns, with the range that may be at fault.

    Models that draw random numbers are not compared.

    Args:
        model: The float model.
        quantized: What `quantize_model` made of it, calibrated.
        dataset: The samples, of which the first batch is compared.
    """
    batch = next(iter(batches(dataset, quantized, batch_size=32)))
    with traced_once(quantized):
        found = _outputs(quantized, batch)
    with keras.StatelessScope():  # the model is not changed, nor are seeds in it
        right = _outputs(model, batch)
        compared = map(_ratio, right, found)
        poor = [
            (i, ratio)
            for i, (ratio, largest) in enumerate(compared)
            if ratio < LEAST_RATIO and largest > _STEPS * _step(quantized, i)
        ]
        again = _outputs(model, batch) if poor else right
    count = len(batch[0])
    for i, ratio in poor:
        if np.array_equal(right[i], again[i], equal_nan=True):
            warnings.warn(
                f"Rounding drowns the output '{quantized.output_names[i]}' of the "
                f"quantized model: {ratio:.1f} dB of signal to noise on {count} "
                f"sample{'s' * (count > 1)}.{_faintest(quantized)} "
                "So are many deep networks that nobody has trained yet. Train a "
                "trained one on with rounding (`fit`), or quantize it more finely: "
                "quantization='int16' or 'dynamic'.",
                stacklevel=3,
            )
            return


def _outputs(model: keras.Model, batch: list[np.ndarray]) -> list[np.ndarray]:
    outputs = model(
        tree.pack_sequence_as(input_structure(model), batch), training=False
    )
    return list(map(keras.ops.convert_to_numpy, tree.flatten(outputs)))


def _ratio(signal: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Signal to noise in decibels, and the largest difference."""
    known = np.isfinite(signal)
    power = np.sum(np.square(signal[known], dtype="float64"))
    off = np.subtract(signal[known], other[known], dtype="float64")
    noise = np.sum(off**2)
    if not power or not noise:  # as of a head that starts at zero
        return math.inf, 0.0
    return 10 * math.log10(power / noise), float(np.abs(off).max())


def _step(quantized: keras.Model, index: int) -> float:
    """How far two integers of an output are apart; 0 of what is no integers."""
    graph = flatten(quantized, leaves=(QuantizeWeights, LookUp))
    rounds = rounded_by(graph, tree.flatten(graph.outputs)[index])
    return 0.0 if rounds is None else rounds.step


def _faintest(quantized: keras.Model) -> str:
    """What tells of the range in which most channels are too small for a step."""
    ranges = [part for part in sublayers(quantized) if isinstance(part, FakeQuantize)]
    worst = max(ranges, key=lambda x: x.faint, default=None)
    if worst is None or not worst.faint:
        return ""
    low, high = worst.ends()
    return (
        f" Of the channels of '{worst.name.removesuffix('_range')}' {worst.faint:.0%} "
        f"vary by less than a step of its integers, which reach from {low:.3g} to "
        f"{high:.3g}: bring all to one scale before they enter the model."
    )
