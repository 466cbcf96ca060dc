"""`Streamer`: builds the model of one step of a graph and its timing."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_share.flat.flat_graph import FlatGraph, Step
from keras_share.flat.names import input_names, output_names
from keras_share.flat.rebuild import Rebuilder
from keras_share.flat.states import state_name
from keras_share.flat.tensors import new_input
from keras_share.quantize.fake_quantize import FakeQuantize
from keras_share.quantize.rules import find_rule
from keras_share.stream.frames import at_length
from keras_share.stream.reach import inner, name_of
from keras_share.stream.timing import Stream, Timing, View

_CLOCK = "clock"


def named(names: list[str], structure: Any, single: str) -> dict[str, Any]:
    """What a structure holds, by the keys of a dict or by names."""
    flat = tree.flatten(structure)
    if isinstance(structure, Mapping):
        paths = [path for path, _ in tree.flatten_with_path(structure)]
        return {".".join(map(str, p)): x for p, x in zip(paths, flat, strict=True)}
    if len(flat) == 1:
        names = [single]
    elif len(set(names)) < len(names):
        names = [f"{single}_{i}" for i in range(len(names))]
    return dict(zip(names, flat, strict=True))


class Streamer:
    """Builds the model of one step."""

    def __init__(self, model: keras.Model, graph: FlatGraph, timing: Timing):
        self.graph = graph
        self.timing = timing
        self.builder = Rebuilder(graph, wrap=_for_a_step)
        names = input_names(model)
        self.takes = named(names, graph.inputs, names[0])
        self.gives = named(output_names(model), graph.outputs, "output")
        self.inputs: dict[str, Any] = {}
        self.states: dict[str, Any] = {}  # new ones
        self.histories: dict[keras.KerasTensor, Any] = {}
        self.values: dict[keras.KerasTensor, Any] = {}  # of masked sources
        self.slices: dict[View, Any] = {}
        self.roundings = {
            s.op.name: s for s in graph.all_steps if isinstance(s.op, FakeQuantize)
        }

    def build(self) -> tuple[dict[str, Any], dict[str, Any], Rebuilder]:
        """Inputs and outputs, and the builder that made what is between them."""
        for name, tensor in self.takes.items():
            shape, stream = list(tensor.shape), self.timing.streams.get(tensor)
            if stream is not None:
                shape[1] = stream.frames
            dtype = "float32" if "float" in tensor.dtype else tensor.dtype
            self.inputs[name] = new_input(shape, dtype, name)
            self.builder.set(tensor, self.inputs[name])
        for step in self.graph:
            self.builder.set(step.outputs, self._call(step))
        outputs = {name: self._viewed(None, x) for name, x in self.gives.items()}
        return self.inputs, {**outputs, **self.states}, self.builder

    def _call(self, step: Step) -> Any:
        given = {x: self._viewed(step, x) for x in step.inputs}
        if step.body is not None:
            return self._loop(step, step.body, given[step.inputs[0]])
        [y, *_] = tree.flatten(step.outputs)
        stream = self.timing.streams.get(y)
        if stream is not None and stream.source is not y:
            return self.builder.resolve(step.inputs[0])  # moved: views know by how much
        before = {x: self.builder.resolve(x) for x in given}
        for x, value in given.items():
            self.builder.set(x, value)
        frames = [
            self.timing.streams[x].frames for x in given if x in self.timing.streams
        ]
        op = at_length(step, *frames[:1]) if frames else step.op
        if op is step.op:
            outputs = self.builder.call(step)
        else:
            outputs = op(given[step.inputs[0]])
        for x, value in before.items():
            self.builder.set(x, value)
        return outputs

    def _viewed(self, step: Step | None, tensor: keras.KerasTensor) -> Any:
        """What a step reads of a tensor."""
        view = self.timing.views.get((step, tensor))
        if view is None:
            return self.builder.resolve(tensor)
        if view not in self.slices:
            owner = step.name if step is not None else self._name(tensor)
            self.slices[view] = self._slice(view, owner)
        return self.slices[view]

    def _slice(self, view: View, owner: str) -> Any:
        past = self.timing.pasts[view.source]
        present = self._value(view.source)
        if (view.past, view.stop) == (0, present.shape[view.axis]):
            return present
        window = self._history(view.source, view.axis, past, owner)
        first, last = past - view.past, past + view.stop
        if (first, last) == (0, window.shape[view.axis]):
            return window
        return _frames(window, view.axis, first, last)

    def _history(
        self, source: keras.KerasTensor, axis: int, past: int, owner: str
    ) -> Any:
        """The frames of a source that are read at this step, with those of the past."""
        if source not in self.histories:
            x = self._value(source)
            if past:
                shape = [*x.shape[:axis], past, *x.shape[axis + 1 :]]
                state, name = self._state(owner, shape, x.dtype)
                state = self._rounded(source, state)
                x = ops.concatenate([state, x], axis=axis)
                self.states[name] = _frames(x, axis, -past, None)
            self.histories[source] = x
        return self.histories[source]

    def _value(self, source: keras.KerasTensor) -> Any:
        stream = self.timing.masked.get(source)
        if stream is None:
            return self.builder.resolve(source)
        if source not in self.values:
            x = self._value(stream.source)
            begun = self._begun(stream)
            shape = [1] * len(x.shape)
            shape[0], shape[stream.axis] = -1, stream.frames
            self.values[source] = ops.where(ops.reshape(begun, shape), x, 0.0)
        return self.values[source]

    def _begun(self, stream: Stream) -> Any:
        """Which frames of a late stream are not of before the first one."""
        if state_name(_CLOCK) not in self.inputs:
            self.clock, name = self._state(_CLOCK, (None, 1), "int32")
            most = max(-(-s.lag // s.frames) for s in self.timing.streams.values())
            self.states[name] = ops.minimum(self.clock + 1, most)
        frames = np.arange(stream.frames)
        first = np.maximum(0, -(-(stream.lag - frames) // stream.frames))
        return ops.greater_equal(self.clock, first.astype("int32"))

    def _state(self, owner: str, shape: Any, dtype: str) -> tuple[Any, str]:
        number = 0
        while state_name(owner, number) in {**self.inputs, **self.gives}:
            number += 1
        name = state_name(owner, number)
        self.inputs[name] = new_input(shape, dtype, name)
        return self.inputs[name], name

    def _rounded(self, source: keras.KerasTensor, state: Any) -> Any:
        """A state as it was rounded when it was a present frame."""
        stream = self.timing.masked.get(source)
        if stream is not None:
            return self._rounded(stream.source, state)
        step = self.graph.producer(source)
        while step is not None and len(step.inputs) == 1:
            if isinstance(step.op, FakeQuantize):
                return self.builder.layer(step)(state)
            rule = find_rule(step.op)
            if rule is None or rule.output != "input":
                break
            source = self.timing.streams[step.inputs[0]].source
            step = self.graph.producer(source)
        return state

    def _loop(self, step: Step, body: FlatGraph, x: Any) -> Any:
        stream = self.timing.streams.get(step.inputs[0])
        assert stream is not None
        lag = max(0, stream.lag)
        begun = (
            self._begun(Stream(stream.source, stream.frames, lag, stream.rate))
            if lag
            else None
        )
        place, *tensors = body.inputs
        rounders = dict(enumerate(step.op.rounders))
        states, names = [], []
        for i, tensor in enumerate(tensors):
            shape = (x.shape[0], *tensor.shape[1:])
            state, name = self._state(name_of(step), shape, tensor.dtype)
            rounder = self.roundings.get(rounders.get(i + 1))
            if rounder is not None:
                state = self.builder.layer(rounder)(state)
            states.append(state)
            names.append(name)
        outputs = []
        for frame in range(stream.frames):
            now = ops.squeeze(x, 1) if stream.frames == 1 else x[:, frame]
            self.builder.set(place, now)
            self.builder.set(tensors, states)
            for part in body:
                self.builder.set(part.outputs, self.builder.call(part))
            y, *new = self.builder.resolve(body.outputs)
            if begun is not None:
                new = [
                    ops.where(_like(begun[:, frame : frame + 1], s), n, s)
                    for n, s in zip(new, states, strict=True)
                ]
            states = new
            outputs.append(y)
        self.states.update(zip(names, states, strict=True))
        y = ops.stack(outputs, axis=1) if step.op.return_sequences else outputs[-1]
        return (y, *states) if step.op.return_state else y

    def _name(self, tensor: keras.KerasTensor) -> str:
        producer = self.graph.producer(tensor)
        return "input" if producer is None else producer.name


def _like(flags: Any, x: Any) -> Any:
    return ops.reshape(flags, (-1, *(1 for _ in x.shape[1:])))


def _frames(x: Any, axis: int, first: int, last: int | None) -> Any:
    key = (*[slice(None)] * axis, slice(first, last))
    return x[key]


def _for_a_step(copy: keras.Layer, original: keras.Layer) -> keras.Layer:
    """A copied layer that reads the frames of the past, and any number of frames."""
    layer = inner(copy)
    if getattr(layer, "padding", None) == "causal":
        layer.padding = "valid"  # the past is there, where it padded with zeros
    if isinstance(layer, keras.layers.EinsumDense):
        time, *sizes = layer.partial_output_shape
        layer.partial_output_shape = (None if sizes else time, *sizes)
    return copy
