"""`streaming`: from a model of whole sequences to one of a step and its states."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import layers, ops, tree

from keras_share.flat.built_model import check_numbers, input_structure
from keras_share.flat.flat_graph import FlatGraph, Step
from keras_share.flat.flatten import flatten
from keras_share.flat.names import input_names, output_names
from keras_share.flat.precision import full_precision
from keras_share.flat.rebuild import Rebuilder
from keras_share.flat.states import state_name
from keras_share.layers import checks
from keras_share.quantize import recurrent_rules  # noqa: F401 (registers rules)
from keras_share.quantize.fake_quantize import FakeQuantize
from keras_share.quantize.look_up import LookUp
from keras_share.quantize.quantization import quantization_of
from keras_share.quantize.quantize_weights import QuantizeWeights
from keras_share.quantize.quantized_model import QuantizedModel, patterns_of
from keras_share.quantize.rules import find_rule
from keras_share.stream.frames import at_length
from keras_share.stream.reach import CLOSED, inner, name_of
from keras_share.stream.timing import Stream, Timing, View

_LENGTH = 1024  # frames of a sequence whose length is open: any that is long enough
_CLOCK = "clock"


def streaming(model: keras.Model, step: int = 1) -> keras.Model:
    """Makes a model of one step of one that was made for whole sequences.

    The new model takes the next `step` frames and its states, and returns what the
    model computes for them and the new states: each frame is computed once. Inputs and
    outputs are dicts; a state has one name in both, which ends with `.state`. It begins
    with zeros (`keras_share.stream.initial_states`).

    Layers are copied with their weights. What is tied stays so: a stack that shares has
    its kernels once, and states of their own for each site. Convolutions and pooling
    keep the frames of the past that they read, GRU and LSTM what goes around; branches
    that are late by different numbers of frames are aligned. A model from
    `quantize_model` keeps its ranges, so that the file computes the integers of that of
    the whole sequence.

    With valid padding a model waits for frames to come: its first outputs
    (`keras_share.stream.delays` tells how many) are of frames before the first one.

    Args:
        model: A built Sequential or Functional model, or one from `quantize_model`,
            whose inputs have time as their second axis, `(batch, frames, ...)`. Where
            some lengths are open (None), those inputs are the streams; else all
            inputs with three axes or more are, or all if none has.
        step: Frames for each step. The product of all strides must divide it.

    Returns:
        A Functional model.

    Raises:
        ValueError: If `model` can't be walked or `step` is not positive, or if the
            model can't stream: then each layer that can't is named, with what could
            stand in its place.

    Example:
    >>> import keras, keras_share
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((None, 8), name="audio"),
    ...         keras.layers.Conv1D(4, 3, padding="causal", name="conv"),
    ...     ]
    ... )
    >>> stepwise = keras_share.streaming(model, step=2)
    >>> {name: tuple(x.shape) for name, x in stepwise.input.items()}
    {'audio': (None, 2, 8), 'conv.state': (None, 2, 8)}

    Reference:
    - [Rybakov et al., 2020](https://arxiv.org/abs/2005.06720)
    """
    graph, timing = _timed(model, step)
    with full_precision():
        inputs, outputs, builder = _Streamer(model, graph, timing).build()
        streamed = builder.finish(inputs, outputs)
        if quantization_of(model) is not None:
            streamed = QuantizedModel(
                inputs, outputs, model.name, patterns=patterns_of(model)
            )
    return streamed


def delays(model: keras.Model, step: int = 1) -> dict[str, int]:
    """By how many frames the outputs of `streaming(model, step)` are late.

    Args:
        model: As in `streaming`.
        step: As in `streaming`.

    Returns:
        For each output that has frames, how many of the first frames that come out of
        the streaming model are to be left out.

    Raises:
        ValueError: As `streaming`.
    """
    graph, timing = _timed(model, step)
    named = _named(output_names(model), graph.outputs, "output")
    return {
        name: max(0, timing.streams[x].lag)
        for name, x in named.items()
        if x in timing.streams
    }


def _timed(model: keras.Model, step: int) -> tuple[FlatGraph, Timing]:
    checks.check_positive_integer("step", step)
    check_numbers(model)
    structure = input_structure(model)
    streams = _stream_inputs(tree.flatten(structure))
    shapes = [
        [*x.shape[:1], *(_LENGTH * step if d is None else d for d in x.shape[1:])]
        for x in tree.flatten(structure)
    ]
    leaves = (QuantizeWeights, LookUp, *CLOSED)
    graph = flatten(
        model, leaves=leaves, inference=True, open_with=_open, shapes=shapes
    )
    flat = tree.flatten(graph.inputs)
    return graph, Timing.of(
        graph, [x for x, s in zip(flat, streams, strict=True) if s], step
    )


def _open(op: keras.Operation, args: tuple, kwargs: dict) -> Any:
    """Recurrent layers are opened: what they do in each step is a graph of its own."""
    if not isinstance(op, layers.RNN):
        return None
    rule = find_rule(op)
    return None if rule is None or rule.refuse(op) else rule.write


def _stream_inputs(inputs: list[keras.KerasTensor]) -> list[bool]:
    """Which inputs are streams."""
    ranks = [len(x.shape) for x in inputs]
    is_open = [n > 1 and x.shape[1] is None for n, x in zip(ranks, inputs, strict=True)]
    if any(is_open):
        return is_open
    fewest = 3 if max(ranks) > 2 else 2
    lengths = {x.shape[1] for n, x in zip(ranks, inputs, strict=True) if n >= fewest}
    if len(lengths) != 1:
        raise ValueError(
            "The inputs of a model that is to stream must have one length, their "
            "second axis; leave open (None) those of streams if others are none. "
            f"Received: shapes {[tuple(x.shape) for x in inputs]}"
        )
    return [n >= fewest for n in ranks]


def _named(names: list[str], structure: Any, single: str) -> dict[str, Any]:
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


class _Streamer:
    """Builds the model of one step."""

    def __init__(self, model: keras.Model, graph: FlatGraph, timing: Timing):
        self.graph = graph
        self.timing = timing
        self.builder = Rebuilder(graph, wrap=_without_padding)
        names = input_names(model)
        self.takes = _named(names, graph.inputs, names[0])
        self.gives = _named(output_names(model), graph.outputs, "output")
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
            self.inputs[name] = keras.Input(batch_shape=shape, dtype=dtype, name=name)
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
        while state_name(owner, number) in self.inputs:
            number += 1
        name = state_name(owner, number)
        self.inputs[name] = keras.Input(batch_shape=shape, dtype=dtype, name=name)
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


def _without_padding(copy: keras.Layer, original: keras.Layer) -> keras.Layer:
    """A copied layer that reads the frames of the past, where it padded with zeros."""
    layer = inner(copy)
    if getattr(layer, "padding", None) == "causal":
        layer.padding = "valid"
    return copy
