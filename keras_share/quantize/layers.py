"""Keras 3 layers around TFMOT's quantizers."""

from typing import Any

import keras
from keras import ops

from keras_share.quantize.tfmot import (
    QuantizerVariable,
    RangeOwner,
    activation_quantizer,
    weight_quantizer,
)
from keras_share.substitute import accepts_training, call_with

UNTRAINED = (-6.0, 6.0)  # where TFMOT's quantizers begin


@keras.saving.register_keras_serializable(package="keras_share")
class FakeQuantize(keras.layers.Layer):
    """Rounds a tensor to the integers of its quantization range, and back.

    TFMOT's `MovingAverageQuantizer`: one range per tensor, asymmetric, followed by a
    moving average while training. Each use of a shared layer has one of its own.

    Args:
        num_bits: Number of bits.
        **kwargs: Base layer keyword arguments, such as `name`.

    Reference:
        Jacob et al., Quantization and Training of Neural Networks for Efficient
        Integer-Arithmetic-Only Inference (arXiv 1712.05877).
    """

    def __init__(self, num_bits: int = 8, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.num_bits = num_bits
        self.supports_masking = True
        self._observing = False

    def build(self, input_shape: Any) -> None:
        """Creates the range."""
        self._quantizer = activation_quantizer(self.num_bits)
        self._range = self._quantizer.build(input_shape, "range", RangeOwner(self))
        self.min, self.max = self._range["min_var"], self._range["max_var"]

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if self._observing:
            self._observe(inputs)
            return inputs
        # The TensorFlow variables themselves, which the quantizer assigns to.
        weights = {name: v.value for name, v in self._range.items()}
        return self._quantizer(inputs, bool(training), weights)

    def start_observing(self) -> None:
        """From now on passes values through and widens the range to hold them."""
        self.min.assign(0.0)  # TFLite needs zero to be in the range.
        self.max.assign(0.0)
        self._observing = True

    def stop_observing(self) -> None:
        """Quantizes again, with the range that was observed."""
        self._observing = False

    def _observe(self, inputs: Any) -> None:
        inputs = ops.cast(inputs, "float32")
        self.min.assign(ops.minimum(ops.min(inputs), self.min))
        self.max.assign(ops.maximum(ops.max(inputs), self.max))

    def check_range(self) -> None:
        """Raises ValueError if the range was never set from data."""
        low, high = (float(ops.convert_to_numpy(v)) for v in (self.min, self.max))
        if (low, high) == UNTRAINED or low == high:
            raise ValueError(
                f"The quantization range of '{self.name}' was never set from data. "
                "Pass `representative_dataset` to quantize_model, or train the model, "
                f"before it is exported. Received: range [{low}, {high}]"
            )

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_bits": self.num_bits}


@keras.saving.register_keras_serializable(package="keras_share")
class QuantizeWeights(keras.layers.Wrapper):
    """A layer whose kernel is rounded to integers, and back, before each use.

    TFMOT's `LastValueQuantizer`: symmetric and narrow, one range per output channel.
    The range is that of the present weights also at inference, where TFMOT keeps the
    one of the step before: what is simulated is then exactly what is exported.

    Args:
        layer: A layer with one variable named `kernel`.
        num_bits: Number of bits.
        **kwargs: Base layer keyword arguments, such as `name`.
    """

    def __init__(self, layer: keras.Layer, num_bits: int = 8, **kwargs: Any):
        kwargs["autocast"] = False
        kwargs["dtype"] = layer.dtype_policy
        super().__init__(layer, **kwargs)
        self.num_bits = num_bits
        self.supports_masking = layer.supports_masking
        self._baked = False

    @property
    def quantized_layer(self) -> keras.Layer:
        """The layer whose kernel is quantized."""
        return self.layer

    def build(self, input_shape: Any) -> None:
        """Builds the layer and creates the range of its kernel."""
        if not self.layer.built:
            self.layer.build(input_shape)
        [self.kernel] = [v for v in self.layer.weights if v.name == "kernel"]
        self._matrix = (-1, _num_channels(self.layer, self.kernel))
        self._quantizer = weight_quantizer(self.num_bits)
        self._range = self._quantizer.build(self._matrix, "kernel", RangeOwner(self))
        self.input_spec = self.layer.input_spec

    def quantized_kernel(self) -> Any:
        """The kernel, rounded to the integers it is stored as, and back."""
        kernel = ops.cast(self.kernel.value, "float32")
        weights = {name: QuantizerVariable(v) for name, v in self._range.items()}
        matrix = self._quantizer(ops.reshape(kernel, self._matrix), True, weights)
        return ops.reshape(matrix, self.kernel.shape)

    def bake(self) -> None:
        """Makes the rounded kernel the kernel, and stops to round it.

        For export: the converter finds the same integers in it, per channel, where a
        fake quantization node per channel makes it fail on Dense layers.
        """
        self.kernel.assign(self.quantized_kernel())
        self._baked = True

    def call(
        self, inputs: Any, *args: Any, training: bool | None = None, **kwargs: Any
    ) -> Any:
        if accepts_training(self.layer):
            kwargs["training"] = training
        if self._baked:
            return self.layer(inputs, *args, **kwargs)
        stand_ins = [(self.kernel, self.quantized_kernel())]
        outputs, losses = call_with(self.layer, stand_ins, inputs, *args, **kwargs)
        for loss in losses:
            self.add_loss(loss)
        return outputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.layer.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("dtype", None)
        return {**config, "num_bits": self.num_bits}


def _num_channels(layer: keras.Layer, kernel: keras.Variable) -> int:
    """Number of ranges of a kernel: its output channels, which lie last in it.

    One where they don't, as the kernel of an EinsumDense may have any order of axes.
    """
    if isinstance(layer, (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)):
        return kernel.shape[-2] * kernel.shape[-1]
    if not isinstance(layer, keras.layers.EinsumDense):
        return kernel.shape[-1]
    inputs, rest = layer.equation.replace(" ", "").split(",")
    axes, outputs = rest.split("->")
    kept = [axis for axis in axes if axis in outputs and axis not in inputs]
    if not kept or not axes.endswith("".join(kept)):
        return 1
    channels = 1
    for size in kernel.shape[len(axes) - len(kept) :]:
        channels *= size
    return channels
