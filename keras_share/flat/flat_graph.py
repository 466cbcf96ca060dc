"""`FlatGraph`: a model as the list of the leaf operations it runs."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import keras
from keras import tree

from keras_share.flat.tensors import tensors
from keras_share.layers.held_weight import HeldWeight
from keras_share.layers.transposed import Transposed
from keras_share.layers.variable_map import VariableMap


@dataclass(frozen=True, eq=False)
class Step:
    """One use of a leaf: of a layer without layers inside, or of an operation.

    Attributes:
        op: The layer or operation. The same object at every use.
        name: Unique in the graph and readable: where in the model this use stands.
        args: Positional arguments; tensors among them are outputs of earlier steps
            or inputs of the graph.
        kwargs: Keyword arguments, likewise.
        outputs: The outputs, a `KerasTensor` or a structure of them.
        stand_ins: The private variables that this use has in place of the layer's.
        within: The layers that were opened to find this step, outermost first, each
            with the place of the step in it.
        reason: Why a layer with layers inside is a leaf, else None.
        body: What each step of a `Recurrent` runs; None for others.
    """

    op: keras.Operation
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: Any
    stand_ins: VariableMap[keras.Variable] = field(default_factory=VariableMap)
    within: tuple[tuple[keras.Layer, int], ...] = ()
    reason: str | None = None
    body: "FlatGraph | None" = None

    @property
    def inputs(self) -> list[keras.KerasTensor]:
        """The tensors among the arguments."""
        return tensors((self.args, self.kwargs))

    @property
    def weights(self) -> list[keras.Variable]:
        """The weights that this use has, in the order of the layer's."""
        weights = self.op.weights if isinstance(self.op, keras.Layer) else []
        return [self.stand_ins.of(v) for v in weights]

    @property
    def output(self) -> keras.KerasTensor:
        """The output, where there is one."""
        [output] = tensors(self.outputs)
        return output

    @property
    def matrix(self) -> keras.Variable | None:
        """What a `Transposed` has as its matrix; None for others."""
        op = self.op
        return self.stand_ins.of(op.matrix) if isinstance(op, Transposed) else None


@dataclass(frozen=True, eq=False)
class FlatGraph:
    """The steps of a model in the order in which they run.

    Attributes:
        inputs: Structure of `KerasTensor`s, as the model takes it.
        steps: The steps.
        outputs: Structure of `KerasTensor`s, as the model returns it.
        name: Name of the model.
        weights: Ids of the weights that the whole model has, by how many steps use
            each; that of a body is the model's, too.
        matrices: Ids of those that are the matrix of a `Transposed`, likewise.
    """

    inputs: Any
    steps: tuple[Step, ...]
    outputs: Any
    name: str
    weights: Counter[int]
    matrices: set[int]

    def without_unread(self, before: "FlatGraph") -> "FlatGraph":
        """A graph without steps that only those read which it has no more.

        Args:
            before: The graph before it was changed.
        """
        read = set(tree.flatten(self.outputs))
        kept: list[Step] = []
        for step in reversed(self.steps):
            outputs = tree.flatten(step.outputs)
            unread_before = not any(before.consumers(x) for x in outputs)
            if unread_before or read.intersection(outputs):
                kept.insert(0, step)
                read.update(step.inputs)
        return replace(self, steps=tuple(kept))

    @property
    def all_steps(self) -> Iterator[Step]:
        """The steps, and before each loop those of its body."""
        for step in self.steps:
            if step.body is not None:
                yield from step.body.all_steps
            yield step

    def producer(self, tensor: keras.KerasTensor) -> Step | None:
        """The step that makes `tensor`; None for an input of the graph."""
        return self._producers.get(tensor)

    def consumers(self, tensor: keras.KerasTensor) -> list[Step]:
        """The steps that read `tensor`."""
        return self._consumers.get(tensor, [])

    def changing_inputs(self, step: Step) -> list[keras.KerasTensor]:
        """The inputs of a step that are not computed of weights alone."""
        return [x for x in step.inputs if x not in self._fixed]

    def is_output(self, tensor: keras.KerasTensor) -> bool:
        """Whether the graph returns `tensor`."""
        return tensor in tensors(self.outputs)

    def num_uses(self, variable: keras.Variable) -> int:
        """How many steps use a weight."""
        return self.weights[id(variable)]

    def is_used_transposed(self, variable: keras.Variable) -> bool:
        """Whether a weight is the matrix of a `Transposed`."""
        return id(variable) in self.matrices

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    @cached_property
    def _fixed(self) -> set[keras.KerasTensor]:
        fixed: set[keras.KerasTensor] = set()
        for step in self:
            of_fixed = step.inputs and fixed.issuperset(step.inputs)
            if isinstance(step.op, HeldWeight) or of_fixed:
                fixed.update(tensors(step.outputs))
        return fixed

    @cached_property
    def _producers(self) -> dict[keras.KerasTensor, Step]:
        return {x: step for step in self.steps for x in tensors(step.outputs)}

    @cached_property
    def _consumers(self) -> dict[keras.KerasTensor, list[Step]]:
        consumers: dict[keras.KerasTensor, list[Step]] = {}
        for step in self.steps:
            for x in step.inputs:
                consumers.setdefault(x, []).append(step)
        return consumers
