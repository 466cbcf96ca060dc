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
        quantize: Layers to quantize, or names; None for all.
        skip: Layers to leave out, or names.

    Names are those of layers, or of steps as `quantization_report` has them.
    """

    def __init__(
        self,
        model: keras.Model,
        quantize: Sequence[keras.Layer | str] | None,
        skip: Sequence[keras.Layer | str],
    ):
        layers = list(sublayers(model))
        self._chosen = None if quantize is None else _Choice(quantize, layers)
        self._skipped = _Choice(skip, layers)

    def __call__(self, step: Step) -> str | None:
        """The reason why a step is left out, or None."""
        left = self._skipped.has(step)
        chosen = self._chosen is None or self._chosen.has(step)
        return SKIPPED if left or not chosen else None

    def check(self) -> None:
        """Raises ValueError if a name was that of no layer, and of no step so far."""
        for argument, choice in (("quantize", self._chosen), ("skip", self._skipped)):
            if choice and choice.unknown:
                raise ValueError(
                    f"`{argument}` must list layers of the model, names of layers, or "
                    "names of operations as `quantization_report` has them. "
                    f"Received: {choice.unknown[0]!r}"
                )


class _Choice:
    """Layers, and steps by their names."""

    def __init__(self, chosen: Sequence[keras.Layer | str], layers: list[keras.Layer]):
        self._ids: set[int] = set()
        self._names: list[str] = []
        for choice in [chosen] if isinstance(chosen, (str, keras.Layer)) else chosen:
            found = [x for x in layers if x is choice or x.name == choice]
            self._ids.update(map(id, found))
            if not found:
                self._names.append(choice)
        self.unknown = list(self._names)

    def has(self, step: Step) -> bool:
        """Whether a step is one of these, or in one of them."""
        # What becomes a table has its name only after this was decided.
        named = [
            x
            for x in self._names
            if f"{step.name}.".startswith(f"{x}".removesuffix(".look_up") + ".")
        ]
        self.unknown = [x for x in self.unknown if x not in named]
        holders = {id(step.op), *(id(layer) for layer, _ in step.within)}
        return bool(named or holders & self._ids)


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
