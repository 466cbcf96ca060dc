"""What `quantize_model` makes of each layer, as data."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras

from keras_share.graph import FlatGraph, Step
from keras_share.quantize.opening import open_model
from keras_share.quantize.placement import Placement, place
from keras_share.quantize.selection import SKIPPED

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class LayerReport:
    """One use of a layer or operation.

    Attributes:
        name: Where in the model it stands.
        kind: Class of the layer or operation.
        dtype: `int8` or `float32`.
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
    """One row per use of a layer or operation, in the order in which they run."""

    rows: tuple[LayerReport, ...]

    @property
    def float_layers(self) -> tuple[LayerReport, ...]:
        """What stays in floating point."""
        return tuple(row for row in self.rows if row.dtype != "int8")

    def to_frame(self) -> "pandas.DataFrame":
        """The rows as a DataFrame."""
        import pandas as pd

        return pd.DataFrame([vars(row) for row in self.rows])

    def __str__(self) -> str:
        left = self.float_layers
        lines = [f"{len(self.rows) - len(left)} of {len(self.rows)} steps in int8"]
        lines += [f"  float32: {r.name} ({r.kind}): {r.reason}" for r in left]
        return "\n".join(lines)


def quantization_report(model: keras.Model) -> QuantizationReport:
    """Tells what `quantize_model` would make of each layer of a model.

    Args:
        model: A built Sequential or Functional model.

    Returns:
        A `QuantizationReport`.

    Raises:
        ValueError: If `model` is not a built Sequential or Functional model.

    Example:
    >>> import keras, keras_share
    >>> layers = [keras.layers.Dense(4, name="dense"), keras.layers.ELU(name="elu")]
    >>> model = keras.Sequential([keras.Input((8,)), *layers])
    >>> print(keras_share.quantization_report(model))
    1 of 2 steps in int8
      float32: elu.elu (Elu): there is no rule for Elu
    """
    graph = open_model(model)
    return report_of(graph, place(graph))


def report_of(
    graph: FlatGraph, placements: dict[Step, Placement]
) -> QuantizationReport:
    """The report on a graph whose placements are decided."""
    return QuantizationReport(
        tuple(
            LayerReport(
                name=step.name,
                kind=type(step.op).__name__,
                dtype="float32" if placements[step].is_float else "int8",
                reason=placements[step].reason,
            )
            for step in graph
        )
    )
