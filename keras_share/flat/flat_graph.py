"""`FlatGraph`: a model as the list of the leaf operations it runs."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras


@dataclass(frozen=True, eq=False)
class Step:
    """One use of a leaf: of a layer without layers inside, or of an operation.

    Attributes:
        op: The layer or operation. The same object at every use.
        name: Unique in the graph and readable: where in the model this use stands.
        args: Positional arguments; tensors among them are outputs of earlier steps
            or inputs of the graph, known by identity.
        kwargs: Keyword arguments, likewise.
        outputs: The outputs, a `KerasTensor` or a structure of them.
        stand_ins: Pairs of a variable of the layer and the private variable that
            this use has in its place.
        within: The layers that were opened to find this step, outermost first, each
            with the place of the step in it.
        reason: Why a layer with layers inside is a leaf, else None.
    """

    op: Any
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: Any
    stand_ins: tuple[tuple[keras.Variable, keras.Variable], ...] = ()
    within: tuple[tuple[Any, int], ...] = ()
    reason: str | None = None

    @property
    def inputs(self) -> list[keras.KerasTensor]:
        """The tensors among the arguments."""
        return _tensors((self.args, self.kwargs))

    @property
    def weights(self) -> list[keras.Variable]:
        """The weights that this use has, in the order of the layer's."""
        own = {id(v): stand_in for v, stand_in in self.stand_ins}
        weights = self.op.weights if isinstance(self.op, keras.Layer) else []
        return [own.get(id(v), v) for v in weights]

    @property
    def output(self) -> keras.KerasTensor:
        """The output, where there is one."""
        [output] = _tensors(self.outputs)
        return output


@dataclass(frozen=True, eq=False)
class FlatGraph:
    """The steps of a model in the order in which they run.

    Attributes:
        inputs: Structure of `KerasTensor`s, as the model takes it.
        steps: The steps.
        outputs: Structure of `KerasTensor`s, as the model returns it.
        name: Name of the model.
    """

    inputs: Any
    steps: tuple[Step, ...]
    outputs: Any
    name: str
    _producers: dict[int, Step] = field(init=False, repr=False)
    _consumers: dict[int, list[Step]] = field(init=False, repr=False)
    _uses: Counter = field(init=False, repr=False)

    def __post_init__(self):
        producers: dict[int, Step] = {}
        consumers: dict[int, list[Step]] = {}
        for step in self.steps:
            producers.update((id(x), step) for x in _tensors(step.outputs))
            for x in step.inputs:
                consumers.setdefault(id(x), []).append(step)
        object.__setattr__(self, "_producers", producers)
        object.__setattr__(self, "_consumers", consumers)
        uses = Counter(id(v) for step in self.steps for v in step.weights)
        object.__setattr__(self, "_uses", uses)

    def producer(self, tensor: keras.KerasTensor) -> Step | None:
        """The step that makes `tensor`; None for an input of the graph."""
        return self._producers.get(id(tensor))

    def consumers(self, tensor: keras.KerasTensor) -> list[Step]:
        """The steps that read `tensor`."""
        return self._consumers.get(id(tensor), [])

    def is_output(self, tensor: keras.KerasTensor) -> bool:
        """Whether the graph returns `tensor`."""
        return any(tensor is x for x in _tensors(self.outputs))

    def num_uses(self, variable: keras.Variable) -> int:
        """How many steps use a weight."""
        return self._uses[id(variable)]

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)


def _tensors(structure: Any) -> list[keras.KerasTensor]:
    return [
        x for x in keras.tree.flatten(structure) if isinstance(x, keras.KerasTensor)
    ]
