"""What `quantize_model` makes of each layer, as data."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras

from keras_share.flat.flat_graph import FlatGraph, Step
from keras_share.flat.folding import is_identity
from keras_share.quantize.opening import open_and_place
from keras_share.quantize.placement import Placement
from keras_share.quantize.quantization import TRAINED, Quantization, find_quantization
from keras_share.quantize.selection import SKIPPED, Selection

if TYPE_CHECKING:
    import pandas


_LARGE = 1024  # values of a kernel that the converter stores in fewer bits by itself


@dataclass(frozen=True)
class LayerReport:
    """One use of a layer or operation.

    Attributes:
        name: Where in the model it stands.
        kind: Class of the layer or operation.
        dtype: What it computes with: `int8`, `int16` or `float32`; of dynamic range,
            `int8 weights` or `int4 weights` where it has a kernel.
        reason: Why it stays in floating point, else empty.
    """

    name: str
    kind: str
    dtype: str
    reason: str = ""

    @property
    def skipped(self) -> bool:
        """Whether it stays in floating point because that was asked for."""
        return self.reason == SKIPPED


@dataclass(frozen=True)
class QuantizationReport:
    """What `quantize_model` makes of a model.

    Attributes:
        rows: One per use of a layer or operation, in the order in which they run.
        quantization: The way of quantizing.
    """

    rows: tuple[LayerReport, ...]
    quantization: str = "int8"

    @property
    def float_layers(self) -> tuple[LayerReport, ...]:
        """What stays in floating point as it has no rule, or is left out."""
        return tuple(row for row in self.rows if row.reason)

    def to_frame(self) -> "pandas.DataFrame":
        """The rows as a DataFrame."""
        import pandas as pd

        return pd.DataFrame([vars(row) for row in self.rows])

    def to_dict(self) -> dict[str, Any]:
        """All facts as JSON can hold them."""
        return {
            "quantization": str(self.quantization),
            "rows": [vars(row) for row in self.rows],
        }

    def __str__(self) -> str:
        left = self.float_layers
        count = f"{len(self.rows) - len(left)} of {len(self.rows)}"
        lines = [f"{count} steps in {self.quantization}"]
        lines += [f"  float32: {r.name} ({r.kind}): {r.reason}" for r in left]
        return "\n".join(lines)


def quantization_report(
    model: keras.Model,
    *,
    quantization: str = "int8",
    quantize: Sequence[keras.Layer | str] | None = None,
    skip: Sequence[keras.Layer | str] = (),
) -> QuantizationReport:
    """Tells what `quantize_model` would make of each layer of a model.

    Args:
        model: A built Sequential or Functional model.
        quantization: As in `quantize_model`.
        quantize: As in `quantize_model`.
        skip: As in `quantize_model`.

    Returns:
        A `QuantizationReport`.

    Raises:
        ValueError: If `model` is not a built Sequential or Functional model, or an
            argument is unknown.

    Example:
    >>> import keras, keras_share
    >>> dense = keras.layers.Dense(4, activation="sparsemax", name="dense")
    >>> model = keras.Sequential([keras.Input((8,)), dense])
    >>> print(keras_share.quantize.quantization_report(model))
    1 of 2 steps in int8
      float32: dense.sparsemax (Sparsemax): there is no rule for Sparsemax
    """
    quantization = find_quantization(quantization, TRAINED)
    selection = Selection(model, quantize, skip)
    graph, placements = open_and_place(model, quantization.activations, selection)
    return report_of(graph, placements, quantization)


def report_of(
    graph: FlatGraph, placements: dict[Step, Placement], quantization: Quantization
) -> QuantizationReport:
    """The report on a graph whose placements are decided."""
    rows = (
        LayerReport(
            name=step.name,
            kind=type(step.op).__name__,
            dtype=_dtype(step, placements[step], quantization),
            reason=_reason(step, placements[step], quantization),
        )
        for step in graph.all_steps
    )
    return QuantizationReport(tuple(rows), quantization)


def _reason(step: Step, placement: Placement, quantization: Quantization) -> str:
    """Why a step stays in floating point, where others of its kind don't."""
    by_request = placement.reason == SKIPPED
    if is_identity(step.op, step.args, step.kwargs):
        return ""
    if quantization.activations is None and not step.weights and not by_request:
        return ""
    return placement.reason


def _dtype(step: Step, placement: Placement, quantization: Quantization) -> str:
    if placement.is_float:
        return "float32"
    if quantization.activations is not None:
        return f"int{quantization.activations}"
    rule = placement.rule
    fewest = quantization.weight_bits(rule.min_bits)
    large = any(math.prod(v.shape) >= _LARGE for v in step.weights)
    return f"int{fewest} weights" if rule.weights and large else "float32"
