"""Which layers the user wants quantized."""

from collections.abc import Mapping, Sequence

import keras

from keras_share.flat.flat_graph import Step
from keras_share.layers.sublayers import sublayers
from keras_share.quantize.placement import Placement

SKIPPED = "it was left out"


class Selection:
    """Tells of a step whether it is to stay in floating point by request.

    Args:
        model: The model.
        quantize: Layers to quantize, or their names; None for all.
        skip: Layers to leave out, or their names.

    Raises:
        ValueError: If one of them is not in the model.
    """

    def __init__(
        self,
        model: keras.Model,
        quantize: Sequence[keras.Layer | str] | None,
        skip: Sequence[keras.Layer | str],
    ):
        layers = list(sublayers(model))
        self._chosen = None if quantize is None else _ids("quantize", quantize, layers)
        self._skipped = _ids("skip", skip, layers)

    def __call__(self, step: Step) -> str | None:
        """The reason why a step is left out, or None."""
        holders = {id(step.op), *(id(layer) for layer, _ in step.within)}
        if holders & self._skipped:
            return SKIPPED
        if self._chosen is not None and not holders & self._chosen:
            return SKIPPED
        return None


def check_uses(placements: Mapping[Step, Placement]) -> None:
    """Raises ValueError if some uses of a kernel are left out and others are not."""
    left: dict[int, Step] = {}
    rounded: dict[int, Step] = {}
    for step, placement in placements.items():
        kernels = [v for v in step.weights if len(v.shape) > 1]
        for kernel in kernels if step.matrix is None else [step.matrix]:
            if placement.reason == SKIPPED:
                left[id(kernel)] = step
            elif placement.rule.weights and not placement.is_float:
                rounded[id(kernel)] = step
    for kernel in left.keys() & rounded.keys():
        raise ValueError(
            "All uses of a shared kernel must be quantized, or none, for it to be "
            f"stored once. Received: '{_path(left[kernel])}' left out by `skip` or "
            f"`quantize`, and '{_path(rounded[kernel])}' not. Name both, or none."
        )


def _path(step: Step) -> str:
    return "/".join([*(layer.name for layer, _ in step.within), step.op.name])


def _ids(
    argument: str, chosen: Sequence[keras.Layer | str], layers: list[keras.Layer]
) -> set[int]:
    if isinstance(chosen, (str, keras.Layer)):
        chosen = [chosen]
    ids: set[int] = set()
    for choice in chosen:
        found = [x for x in layers if x is choice or x.name == choice]
        if not found:
            raise ValueError(
                f"`{argument}` must list layers of the model, or names of layers. "
                f"Received: {choice!r}"
            )
        ids.update(map(id, found))
    return ids
