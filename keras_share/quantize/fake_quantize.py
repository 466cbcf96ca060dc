"""`FakeQuantize`: activations rounded to integers, and back."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_share.layers.recurrent import InLoop
from keras_share.quantize.tfmot import RangeOwner, activation_quantizer

UNTRAINED = (-6.0, 6.0)  # where TFMOT's quantizers begin

LEAST = 1.001e-6  # TensorFlow's converter widens narrower ranges to 1e-6
_NEAR = 5e-4  # steps; a mean of 500 integers is as far from a tie, or it is one
_SMALL = 1e-3  # a range for what was zero in all samples
_WHOLLY = 1e3  # below it are only masks, such as -1e4 or -1e9


@keras.saving.register_keras_serializable(package="keras_share")
class FakeQuantize(InLoop, keras.layers.Layer):
    """Rounds a tensor to the integers of its quantization range, and back.

    TFMOT's `MovingAverageQuantizer`: one range per tensor, followed by a moving average
    while training. It is asymmetric in 8 bits and symmetric in 16, as TFLite has it.
    Each use of a shared layer has one of its own, or all uses one together.

    Args:
        num_bits: Number of bits, 8 or 16.
        fixed: Ends of the range, where TFLite fixes them, as of a softmax. None for a
            range that follows the data.
        **kwargs: Base layer keyword arguments, such as `name`.

    Reference:
        Jacob et al., Quantization and Training of Neural Networks for Efficient
        Integer-Arithmetic-Only Inference (arXiv 1712.05877).
    """

    def __init__(
        self, num_bits: int = 8, fixed: tuple[float, float] | None = None, **kwargs: Any
    ):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.num_bits = num_bits
        self.fixed = None if fixed is None else tuple(fixed)
        self.supports_masking = True
        self._observing = False
        self.least_top = np.inf  # the smallest largest number of a row
        self.faint = 0.0  # the share of channels that differ by less than a step
        self._ends_of: dict[int, np.ndarray] = {}  # of channels, by how many
        self._held: dict[str, Any] | None = None  # the range, in a loop
        self._seen: list[tuple[Any, Any]] = []

    def build(self, input_shape: Any) -> None:
        """Creates the range."""
        self._quantizer = activation_quantizer(self.num_bits)
        if self.fixed is not None:
            return
        self._range = self._quantizer.build(input_shape, "range", RangeOwner(self))
        self.min, self.max = self._range["min_var"], self._range["max_var"]

    def call(
        self, inputs: Any, training: bool | None = None, is_mean: bool = False
    ) -> Any:
        """Rounds; a mean of few integers as TFLite's kernels do where it is a tie."""
        if is_mean and self.num_bits == 8 and not self._observing:
            inputs = inputs + self._from_ties(inputs)
        if self._held is not None:
            if self.watches(training):
                values = ops.cast(ops.stop_gradient(inputs), "float32")
                self._seen.append((ops.min(values), ops.max(values)))
            if self._observing:
                return inputs
            return self._quantizer(inputs, False, self._held)
        if self._observing:
            self._observe(inputs)
            return inputs
        if self.fixed is not None:
            return self._quantizer(inputs, False, self._fixed_range())
        # The TensorFlow variables themselves, which the quantizer assigns to.
        weights = {name: v.value for name, v in self._range.items()}
        return self._quantizer(inputs, self._moves(training), weights)

    def _from_ties(self, x: Any) -> Any:
        # The kernels round half integers away from zero, TensorFlow upwards, or as
        # the last digit of a float has it. Zero is that of the integers in the file.
        if self._held is not None:
            low, high = self._held["min_var"], self._held["max_var"]
        else:
            low, high = self.ends() if self.fixed else (self.min, self.max)
        step = (high - low) / (2**self.num_bits - 1)
        middle = (128 - ops.round(-low / step)) * step
        return ops.stop_gradient(_NEAR * step * ops.sign(x - middle + _NEAR * step))

    def _moves(self, training: bool | None) -> bool:
        # A frozen range stays as it is, as statistics do in Keras.
        return bool(training) and self.trainable

    def enter_loop(self) -> None:
        if self.fixed is not None:
            self._held = self._fixed_range()
        else:
            self._held = {name: ops.copy(v) for name, v in self._range.items()}

    def leave_loop(self) -> None:
        self._held = None

    def watches(self, training: bool | None) -> bool:
        return self.fixed is None and (self._observing or self._moves(training))

    def seen(self) -> tuple[Any, Any]:
        pairs, self._seen = self._seen or [super().seen()], []
        low, high = pairs[0]
        for another_low, another_high in pairs[1:]:
            low = ops.minimum(low, another_low)
            high = ops.maximum(high, another_high)
        return low, high

    def follow(self, extremes: Any, training: bool | None) -> None:
        # The range of all steps moves as if they were one tensor.
        self.call(extremes, training=training)

    def _fixed_range(self) -> dict[str, Any]:
        low, high = map(ops.convert_to_tensor, self.ends())
        return {"min_var": low, "max_var": high}

    def _fixed_ends(self, low: float, high: float) -> tuple[float, float]:
        """The smallest and the largest number that the integers stand for."""
        if self.num_bits > 8:  # the integers are symmetric
            high = high * (1 - 2.0 ** (1 - self.num_bits))
            return -high, high
        return low, high - (high - low) / 2**self.num_bits

    def start_observing(self) -> None:
        """From now on passes values through and widens the range to hold them."""
        if self.fixed is None:
            self.min.assign(0.0)  # TFLite needs zero to be in the range.
            self.max.assign(0.0)
            self.least_top = np.inf
            self._ends_of = {}
            self._observing = True

    def stop_observing(self) -> None:
        """Quantizes again, with the range that was observed."""
        self._observing = False
        if self.fixed is not None:
            return
        if self.num_bits > 8:
            self.max.assign(ops.maximum(-self.min, self.max))
            self.min.assign(-self.max)
        if self._ends() == UNTRAINED:  # as behind a ReLU6
            self.max.assign(np.nextafter(np.float32(UNTRAINED[1]), np.float32(np.inf)))
        elif self._ends() == (0.0, 0.0):  # as a head that starts at zero
            self.min.assign(-_SMALL if self.num_bits > 8 else 0.0)
            self.max.assign(_SMALL)
        elif (width := self.width) < LEAST:
            self.min.assign(self.min * (LEAST / width))
            self.max.assign(self.max * (LEAST / width))
        spans = [high - low for low, high in self._ends_of.values()]
        faint = [(span > 0) & (span < self.step) for span in spans]
        self.faint = float(np.mean(np.concatenate(faint))) if faint else 0.0
        self._ends_of = {}

    def _observe(self, inputs: Any) -> None:
        import tensorflow as tf

        if tf.is_symbolic_tensor(inputs):  # in a loop
            self.min.assign(ops.minimum(ops.min(inputs), self.min))
            self.max.assign(ops.maximum(ops.max(inputs), self.max))
            return
        # In NumPy: to call an operation takes longer than to compute it.
        values = np.atleast_1d(ops.convert_to_numpy(inputs)).astype("float32")
        low, high = self._ends()
        tops = values.max(axis=-1, initial=-np.inf)
        self.min.assign(values.min(initial=low))
        self.max.assign(tops.max(initial=high))
        if values.size:
            rows = values.reshape(-1, values.shape[-1])
            ends = np.stack([rows.min(axis=0), rows.max(axis=0)])
            before = self._ends_of.setdefault(values.shape[-1], ends)
            np.minimum(before[0], ends[0], out=before[0])
            np.maximum(before[1], ends[1], out=before[1])
        # Of a row that is masked throughout any weights are right.
        seen = tops[tops > -_WHOLLY]
        self.least_top = min(self.least_top, float(seen.min(initial=np.inf)))

    def raise_low(self, low: float) -> None:
        """Cuts the range off, for good, where no number makes a difference."""
        self.min.assign(min(low, 0.0))
        self.trainable = False

    def check_range(self) -> None:
        """Raises ValueError if the range was never set from data, or is not finite."""
        if self.fixed is not None:
            return
        low, high = self._ends()
        if not np.isfinite(high - low):
            raise ValueError(
                "Quantization ranges must be finite to be exported: go back to a "
                "checkpoint from before the loss was not, or lower the learning rate. "
                f"Received: range [{low}, {high}] of '{self.name}'"
            )
        if low >= high or (low, high) == UNTRAINED:
            raise ValueError(
                f"The quantization range of '{self.name}' was never set from data. "
                "Pass `representative_dataset` to quantize_model, or train the model, "
                f"before it is exported. Received: range [{low}, {high}]"
            )

    def ends(self) -> tuple[float, float]:
        """The smallest and the largest number that the integers stand for."""
        return self._fixed_ends(*self.fixed) if self.fixed else self._ends()

    @property
    def width(self) -> float:
        """How far the ends are apart."""
        low, high = self.ends()
        return high - low

    @property
    def step(self) -> float:
        """How far two integers that follow on each other are apart."""
        narrow = self.num_bits > 8  # symmetric
        return self.width / (2**self.num_bits - 1 - narrow)

    def _ends(self) -> tuple[float, float]:
        # Not their values themselves: a distribution strategy has several.
        low, high = map(ops.convert_to_numpy, (self.min, self.max))
        return float(low), float(high)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_bits": self.num_bits,
            "fixed": self.fixed,
        }
