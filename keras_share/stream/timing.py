"""When which frames of a graph are computed, if some come in at each step."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction

import keras
from keras import tree

from keras_share.flat.flat_graph import FlatGraph, Step
from keras_share.stream.frames import frames_alone
from keras_share.stream.reach import (
    Window,
    advice_for,
    kind_of,
    name_of,
    shift_of,
    window_of,
)


@dataclass(frozen=True)
class Stream:
    """A tensor of which some frames are computed at each step.

    The first of them is frame `step * frames - lag`: those before frame 0 mean nothing,
    as in them something was read that came before the first frame.

    Attributes:
        source: The tensor whose frames these are, moved by paddings and croppings.
        frames: How many are computed at each step.
        lag: By how many they are late. Less than 0 behind a padding, which stands for
            frames before the first one, all zeros.
        rate: Frames for each frame of the model's input.
        axis: The axis of the frames.
    """

    source: keras.KerasTensor
    frames: int
    lag: int
    rate: Fraction
    axis: int = 1


@dataclass(frozen=True)
class View:
    """Frames of a source, from `past` before those of this step up to `stop`."""

    source: keras.KerasTensor
    axis: int
    past: int
    stop: int


@dataclass(eq=False)
class Timing:
    """The streams of a graph, and what is read of each.

    Attributes:
        streams: By tensor.
        views: What a step reads of a tensor.
        pasts: How many frames of the past are read of a source.
        masked: Sources that are another stream with zeros before its first frame.
        problems: Why steps can't run on a stream.
        count: How many steps the sequences of the graph are; 0 if they fill none up.
    """

    streams: dict[keras.KerasTensor, Stream] = field(default_factory=dict)
    views: dict[tuple[Step | None, keras.KerasTensor], View] = field(
        default_factory=dict
    )
    pasts: dict[keras.KerasTensor, int] = field(default_factory=dict)
    masked: dict[keras.KerasTensor, Stream] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    count: int = 0

    @classmethod
    def of(
        cls, graph: FlatGraph, inputs: Iterable[keras.KerasTensor], frames: int
    ) -> "Timing":
        """The timing of a graph of which these inputs get some frames at each step.

        Raises:
            ValueError: If it can't run so: all steps that can't are named.
        """
        timing = cls()
        for x in inputs:
            timing.streams[x] = Stream(x, frames, 0, Fraction(1))
            timing.count = 0 if x.shape[1] % frames else x.shape[1] // frames
        for step in graph:
            timing._add(step)
        if timing.problems:
            raise ValueError(
                "On a stream each layer must read the present frames and a known "
                f"number of past ones. Received: the model '{graph.name}', of which "
                f"these can't: {'; '.join(timing.problems)}."
            )
        for x in tree.flatten(graph.outputs):
            if x in timing.streams:
                timing._delay(None, x, max(0, timing.streams[x].lag))
        return timing

    def _add(self, step: Step) -> None:
        read = [x for x in dict.fromkeys(step.inputs) if x in self.streams]
        if not read:
            return
        count = len(self.problems)
        shift, window = shift_of(step), window_of(step)
        if step.body is not None:
            self._loop(step, read)
        elif shift is not None:
            self._shift(step, read[0], shift)
        elif window is not None:
            self._window(step, read[0], window)
        else:
            self._alone(step, read)
        if len(self.problems) > count:  # go on, to find the others
            stream = self.streams[read[0]]
            for y in tree.flatten(step.outputs):
                if len(y.shape) == len(read[0].shape):
                    self.streams[y] = replace(stream, source=y)

    def _alone(self, step: Step, read: list[keras.KerasTensor]) -> None:
        rank = len(read[0].shape)
        outcomes = frames_alone(step, {x: self.streams[x].axis for x in read})
        if (
            step.reason
            or outcomes is None
            or not all(
                outcome is not None and (outcome.rate == 1 or len(y.shape) >= rank)
                for y, outcome in zip(tree.flatten(step.outputs), outcomes, strict=True)
            )
        ):
            mixes = f"a frame depends on others; take {advice_for(step)}"
            self._refuse(step, step.reason or f"what it computes of {mixes}")
            return
        if len({self.streams[x].frames for x in read}) > 1:
            counts = sorted({self.streams[x].frames for x in read})
            self._refuse(step, f"it takes sequences of {counts} frames at each step")
            return
        lag = self._align(step, read)
        for y, outcome in zip(tree.flatten(step.outputs), outcomes, strict=True):
            if outcome is None or outcome.axis is None:
                self._check_last(step, read, lag)
            else:
                first, times = self.streams[read[0]], outcome.rate
                self.streams[y] = Stream(
                    y,
                    first.frames * times,
                    lag * times,
                    first.rate * times,
                    outcome.axis,
                )

    def _check_last(self, step: Step, read: list[keras.KerasTensor], lag: int) -> None:
        """Whether the last frame of a sequence is one of its last step."""
        for x in read:
            stream, length = self.streams[x], x.shape[self.streams[x].axis]
            computed = self.count * stream.frames - lag
            if self.count and length != computed:
                self._refuse(
                    step,
                    f"it takes the last of {length} frames, of which {computed} are "
                    "computed at the last step; crop none at the end, and pad by one "
                    "less than a kernel reads",
                )

    def _align(self, step: Step, read: list[keras.KerasTensor]) -> int:
        """Lets a step read the same frames of all; returns how late they are."""
        lag = max(0, *(self.streams[x].lag for x in read))
        for x in read:
            self._delay(step, x, lag)
        return lag

    def _delay(self, step: Step | None, x: keras.KerasTensor, lag: int) -> None:
        stream = self.streams[x]
        past = lag - stream.lag
        self._read(step, x, stream, past, stream.frames - past)

    def _read(
        self, step: Step | None, x: keras.KerasTensor, of: Stream, past: int, stop: int
    ) -> None:
        self.views[step, x] = View(of.source, of.axis, past, stop)
        self.pasts[of.source] = max(past, self.pasts.get(of.source, 0))

    def _window(self, step: Step, x: keras.KerasTensor, window: Window) -> None:
        size, stride, padding = window
        stream = self.streams[x]
        if (
            stream.axis != 1
            or getattr(step.op, "data_format", None) == "channels_first"
        ):
            self._refuse(step, "its frames must be the first axis after the batch")
            return
        if padding == "same":
            causal = "padding='causal'"
            if kind_of(step) != "Conv1D":
                causal = f"padding='valid' behind a padding by ({size - 1}, 0)"
            self._refuse(step, f"padding='same' reads frames to come; take {causal}")
            return
        if stream.frames % stride:
            steps = (stream.rate / stride).denominator
            self._refuse(
                step,
                f"its strides of {stride} must divide the {stream.frames} frames that "
                f"it gets at each step; take a step of a multiple of {steps} frames",
            )
            return
        if padding == "causal":
            stream = self._padded(stream, size - 1)
        # Frame i of the output reads frames i * stride to i * stride + size - 1.
        lag = max(0, -(-(stream.lag + size) // stride) - 1)
        past = lag * stride - stream.lag
        stop = stream.frames + size - (lag + 1) * stride + stream.lag
        self._read(step, x, stream, past, stop)
        frames, rate = stream.frames // stride, stream.rate / stride
        [y] = tree.flatten(step.outputs)
        self.streams[y] = Stream(y, frames, lag, rate)

    def _shift(self, step: Step, x: keras.KerasTensor, shift: int) -> None:
        stream = self.streams[x]
        [y] = tree.flatten(step.outputs)
        self.streams[y] = self._padded(stream, shift)

    def _padded(self, stream: Stream, frames: int) -> Stream:
        """A stream behind a padding with zeros, or a cropping of its beginning."""
        if frames > 0 and stream.lag > 0:  # what was computed before frame 0 is no zero
            source = keras.KerasTensor(stream.source.shape, stream.source.dtype)
            self.masked[source] = stream
            stream = replace(stream, source=source)
        return replace(stream, lag=stream.lag - frames)

    def _loop(self, step: Step, read: list[keras.KerasTensor]) -> None:
        op = step.op
        if op.go_backwards:
            self._refuse(step, "it begins at the end; take go_backwards=False")
        elif op.sequences > 1:
            self._refuse(step, "it has a mask; take whole frames")
        elif len(step.inputs) > 1:
            self._refuse(step, "its first state comes from another layer; take zeros")
        else:
            lag = self._align(step, read)
            stream = self.streams[read[0]]
            if op.return_sequences:
                y = tree.flatten(step.outputs)[0]
                self.streams[y] = replace(stream, source=y, lag=lag)
            if op.return_state or not op.return_sequences:
                self._check_last(step, read, lag)

    def _refuse(self, step: Step, reason: str) -> None:
        self.problems.append(f"'{name_of(step)}' ({kind_of(step)}): {reason}")
