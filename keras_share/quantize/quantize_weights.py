"""`QuantizeWeights`: a layer whose kernel is rounded to integers, and back."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_share.layers.recurrent import InLoop
from keras_share.layers.substitute import accepts_training, call_with
from keras_share.quantize.rules import find_rule
from keras_share.quantize.tfmot import RangeOwner, round_weights, weight_quantizer


@keras.saving.register_keras_serializable(package="keras_share")
class QuantizeWeights(InLoop, keras.layers.Wrapper):
    """A layer whose kernel is rounded to integers, and back, before each use.

    TFMOT's `LastValueQuantizer`: symmetric and narrow, one range per output channel.
    The range is that of the present weights also at inference, where TFMOT keeps the
    one of the step before: what is simulated is then exactly what is exported.

    Args:
        layer: A layer with a kernel.
        num_bits: Number of bits.
        weights: The names of the attributes of `layer` that hold its kernels, and the
            axes of each that have a range for each index. None for those of the
            layer's rule.
        **kwargs: Base layer keyword arguments, such as `name`.

    Raises:
        ValueError: When built, if `weights` is None and the layer has no rule.
    """

    def __init__(
        self,
        layer: keras.Layer,
        num_bits: int = 8,
        weights: Mapping[str, Sequence[int]] | None = None,
        **kwargs: Any,
    ):
        kwargs["autocast"] = False
        kwargs["dtype"] = layer.dtype_policy
        super().__init__(layer, **kwargs)
        self.num_bits = num_bits
        self.supports_masking = True  # that of a layer that takes none ends here
        self._axes = {} if weights is None else {k: tuple(weights[k]) for k in weights}
        self._from_rule = weights is None
        self._baked = False
        # In a loop: kernels and what they are rounded to, by id.
        self._held: dict[int, tuple[Any, Any]] = {}

    @property
    def quantized_layer(self) -> keras.Layer:
        """The layer whose kernel is quantized."""
        return self.layer

    def build(self, input_shape: Any) -> None:
        """Builds the layer and creates the ranges of its kernels."""
        if not self.layer.built:
            self.layer.build(input_shape)
        if self._from_rule:
            rule = find_rule(self.layer)
            if rule is None:
                raise ValueError(
                    "`weights` must name the weights to quantize of a layer that has "
                    f"no rule. Received: weights=None for '{self.layer.name}' of type "
                    f"{type(self.layer).__name__}. Pass "
                    "weights={'kernel': (-1,)}, or register a rule with "
                    "`keras_share.quantize.register_rule`."
                )
            axes = rule.channel_axes(self.layer)
            self._axes = {name: axes for name in rule.weights}
        self._quantizer = weight_quantizer(self.num_bits)
        self._ranges = {
            name: self._quantizer.build(
                (-1, self._num_channels(name)), name, RangeOwner(self)
            )
            for name in self._axes
        }
        self.input_spec = self.layer.input_spec

    def kernels(self) -> dict[str, keras.Variable]:
        """The weights that are quantized, by name."""
        return {name: getattr(self.layer, name) for name in self._axes}

    def stored_values(self) -> list[tuple[keras.Variable, Any]]:
        """The kernels and what a file stores of each: `audit` asks layers for this."""
        return [(v, self.quantized(name)) for name, v in self.kernels().items()]

    def quantized(self, name: str) -> Any:
        """A kernel, rounded to the integers it is stored as, and back."""
        value = getattr(self.layer, name).value
        # A use with a kernel of its own has another value.
        _, rounded = self._held.get(id(value), (None, None))
        return self._rounded(name, value) if rounded is None else rounded

    def _rounded(self, name: str, value: Any) -> Any:
        kernel = ops.cast(value, "float32")
        rank = len(kernel.shape)
        channels = [axis % rank for axis in self._axes[name]]
        order = [axis for axis in range(rank) if axis not in channels] + channels
        moved = order != sorted(order)
        if moved:
            kernel = ops.transpose(kernel, order)
        matrix = ops.reshape(kernel, (-1, self._num_channels(name)))
        matrix = round_weights(self._quantizer, matrix, self._ranges[name])
        kernel = ops.reshape(matrix, kernel.shape)
        if moved:
            kernel = ops.transpose(kernel, [order.index(axis) for axis in range(rank)])
        return kernel

    def enter_loop(self) -> None:
        if self._baked:
            return
        values = [(name, v.value) for name, v in self.kernels().items()]
        self._held = {id(v): (v, self._rounded(name, v)) for name, v in values}

    def leave_loop(self) -> None:
        self._held = {}

    def ends(self) -> tuple[float, float]:
        """The smallest and the largest number that its integers stand for."""
        values = [ops.convert_to_numpy(v) for v in self.kernels().values()]
        limit = max(float(np.abs(value).max()) for value in values)
        return -limit, limit

    def _num_channels(self, name: str) -> int:
        shape = getattr(self.layer, name).shape
        return math.prod(shape[axis] for axis in self._axes[name])

    def bake(self) -> None:
        """Makes the rounded kernels the kernels, and stops to round them.

        For export: the converter finds the same integers in them, per channel, where a
        fake quantization node per channel makes it fail on Dense layers.
        """
        for name, kernel in self.kernels().items():
            kernel.assign(self.quantized(name))
        self._baked = True

    def call(
        self, inputs: Any, *args: Any, training: bool | None = None, **kwargs: Any
    ) -> Any:
        if accepts_training(self.layer):
            kwargs["training"] = training
        if self._baked:
            return self.layer(inputs, *args, **kwargs)
        if not self.layer.supports_masking:
            # Without its mask: Keras would warn that it is lost here. Attention, of
            # which this may be a part, has read it.
            inputs = tree.map_structure(ops.copy, inputs)
        stand_ins = [(v, self.quantized(name)) for name, v in self.kernels().items()]
        outputs, losses = call_with(self.layer, stand_ins, inputs, *args, **kwargs)
        for loss in losses:
            self.add_loss(loss)
        return outputs

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        if self.layer.supports_masking:
            return self.layer.compute_mask(inputs, previous_mask)
        return None

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.layer.compute_output_shape(input_shape)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        # Few layers of a user's own have `compute_output_shape`.
        if not accepts_training(self.layer):
            kwargs.pop("training", None)
        return self.layer.compute_output_spec(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("dtype", None)
        weights = {name: list(axes) for name, axes in self._axes.items()}
        return {**config, "num_bits": self.num_bits, "weights": weights or None}
