"""`streaming`: from a model of whole sequences to one of a step and its states."""

from typing import Any

import keras
from keras import layers, tree

from keras_share.flat.built_model import check_numbers, input_structure
from keras_share.flat.flat_graph import FlatGraph
from keras_share.flat.flatten import flatten
from keras_share.flat.names import output_names
from keras_share.flat.precision import full_precision
from keras_share.layers import checks
from keras_share.layers.past_frames import PastFrames
from keras_share.quantize import recurrent_rules  # noqa: F401 (registers rules)
from keras_share.quantize.look_up import LookUp
from keras_share.quantize.quantization import quantization_of
from keras_share.quantize.quantize_weights import QuantizeWeights
from keras_share.quantize.quantized_model import QuantizedModel, patterns_of
from keras_share.quantize.rules import find_rule
from keras_share.stream.parted import parted
from keras_share.stream.reach import CLOSED
from keras_share.stream.streamer import Streamer, named
from keras_share.stream.timing import Timing

_LENGTH = 1024  # frames of a sequence whose length is open: any that is long enough


def streaming(model: keras.Model, step: int = 1) -> keras.Model:
    """Makes a model of one step of one that was made for whole sequences.

    The new model takes the next `step` frames and its states, and returns what the
    model computes for them and the new states: each frame is computed once. Inputs and
    outputs are dicts; a state has one name in both, which ends with `.state`, or
    `.state_1` and so on of a layer with several. It begins with zeros
    (`keras_share.stream.initial_states`, whose keys are these names).

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
        inputs, outputs, builder = Streamer(model, graph, timing).build()
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
    outputs = named(output_names(model), graph.outputs, "output")
    return {
        name: max(0, timing.streams[x].lag)
        for name, x in outputs.items()
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
    leaves = (QuantizeWeights, LookUp, PastFrames, *CLOSED)
    graph = flatten(
        model, leaves=leaves, inference=True, open_with=_open, shapes=shapes
    )
    flat = tree.flatten(graph.inputs)
    return graph, Timing.of(
        graph, [x for x, s in zip(flat, streams, strict=True) if s], step
    )


def _open(op: keras.Operation, args: tuple, kwargs: dict) -> Any:
    """What writes a layer that is opened.

    A recurrent one, as what it does in each step is a graph of its own, and pads and
    crops of several axes.
    """
    if not isinstance(op, layers.RNN):
        return parted(op, args, kwargs)
    rule = find_rule(op)
    return None if rule is None else rule.write


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
