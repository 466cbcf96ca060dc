"""`Recurrent`: a model of one step, run along the second axis of its input."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras
from keras import ops, tree

from keras_share.layers.sublayers import Untracked, sublayers


class InLoop:
    """A layer that does some of its work once for all steps of a loop."""

    @abstractmethod
    def enter_loop(self) -> None:
        """Computes what is the same in each step."""

    @abstractmethod
    def leave_loop(self) -> None:
        """Forgets it."""

    def watches(self, training: bool | None) -> bool:
        """Whether it follows the values of the steps."""
        return False

    def seen(self) -> tuple[Any, Any]:
        """The smallest and the largest value in this step, and zero."""
        return 0.0, 0.0

    def follow(self, extremes: Any, training: bool | None) -> None:
        """Takes in the smallest and the largest value of all steps."""


@keras.saving.register_keras_serializable(package="keras_share")
class Recurrent(keras.layers.Layer):
    """Runs a model of one step along the second axis, as Keras's `RNN` does a cell.

    What the layers of the model do for all steps at once (`InLoop`) they do before and
    behind the loop.

    Args:
        step: Model with a list of inputs, of one place of each sequence and of the
            states, and a list of outputs, of that place and of the new states.
        sequences: How many sequences the loop goes along, such as that of a mask.
        return_sequences: As in `keras.layers.RNN`.
        return_state: As in `keras.layers.RNN`.
        go_backwards: As in `keras.layers.RNN`.
        rounders: Names of the layers that round the inputs of `step` and its first
            output, or None for each; for export.
        **kwargs: Base layer keyword arguments, such as `name`.
    """

    def __init__(
        self,
        step: keras.Model,
        *,
        sequences: int = 1,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        rounders: Sequence[str | None] = (),
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.step = step
        self.sequences = sequences
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.rounders = list(rounders)
        self.built = self.supports_masking = True

    def call(self, first: Any, *others: Any, training: bool | None = None) -> Any:
        """Of the sequences, and of the first states or none of them."""
        import tensorflow as tf

        def run(*inputs: Any) -> Any:
            sequences, states = inputs[: self.sequences], inputs[self.sequences :]
            parts = [part for part in sublayers(self.step) if isinstance(part, InLoop)]
            for part in parts:
                part.enter_loop()
            try:
                watching = [part for part in parts if part.watches(training)]
                *results, extremes = self._loop(sequences, states, watching, training)
            finally:
                for part in parts:
                    part.leave_loop()
            for part, seen in zip(watching, ops.unstack(extremes), strict=True):
                part.follow(seen, training)
            return results

        if tf.executing_eagerly():
            # A new function each time: what layers do depends on scopes around them. A
            # `partial`, as TensorFlow warns of one code that it traces again and again.
            traced = {} if self._traced is None else self._traced.value
            if training not in traced:
                traced[training] = tf.function(partial(run), autograph=False)
            run = traced[training]
        output, *states = run(first, *others)
        return (output, *states) if self.return_state else output

    def _loop(
        self,
        sequences: Sequence[Any],
        states: Sequence[Any],
        watching: list[InLoop],
        training: bool | None,
    ) -> list[Any]:
        """The output, the states, and the extremes of what is watched."""
        import tensorflow as tf

        times, batch = sequences[0].shape[1], ops.shape(sequences[0])[0]
        arrays = [
            tf.TensorArray(x.dtype, times).unstack(ops.swapaxes(x, 0, 1))
            for x in sequences
        ]

        def body(i: Any, states: list, output: Any, extremes: Any) -> tuple:
            place = times - 1 - i if self.go_backwards else i
            places = [array.read(place) for array in arrays]
            for x, sequence in zip(places, sequences, strict=True):
                x.set_shape(sequence.shape[:1] + sequence.shape[2:])
            y, *new = tree.flatten(self.step([*places, *states], training=training))
            if self.return_sequences:
                output = output.write(i, y)
            elif self.state_of_output is None:
                output = y
            return i + 1, new, output, _widened(extremes, watching)

        if self.return_sequences:
            output = tf.TensorArray(self.step.outputs[0].dtype, times)
        else:
            output = self.first_output(batch)
        _, states, output, extremes = tf.while_loop(
            lambda i, *_: i < times,
            body,
            (
                0,
                self.initial_states(states, batch),
                output,
                tf.zeros((len(watching), 2)),
            ),
            maximum_iterations=times,
        )
        if self.return_sequences:
            output = ops.swapaxes(output.stack(), 0, 1)
        elif self.state_of_output is not None:
            output = states[self.state_of_output]
        return [output, *states, extremes]

    @property
    def state_of_output(self) -> int | None:
        """The place of the state that is the output, too, if one is."""
        y, *states = self.step.outputs
        return next((i for i, state in enumerate(states) if state is y), None)

    def first_output(self, batch: Any, *length: int) -> Any:
        """What stands for the output before the first step."""
        if not length and self.state_of_output is not None:
            return ()
        y = self.step.outputs[0]
        return ops.zeros((batch, *length, *y.shape[1:]), y.dtype)

    def initial_states(self, states: Sequence[Any], batch: Any) -> list[Any]:
        """The states before the first step: those that were passed, or zeros."""
        if states:
            return list(states)
        inputs = self.step.inputs[self.sequences :]
        return [ops.zeros((batch, *x.shape[1:]), x.dtype) for x in inputs]

    def compute_output_spec(self, first: Any, *others: Any, **_: Any) -> Any:
        batch, times = first.shape[:2]
        y, *new = [
            keras.KerasTensor((batch, *x.shape[1:]), x.dtype) for x in self.step.outputs
        ]
        if self.return_sequences:
            y = keras.KerasTensor((batch, times, *y.shape[1:]), y.dtype)
        return (y, *new) if self.return_state else y

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor but for the model."""
        return {
            "sequences": self.sequences,
            "return_sequences": self.return_sequences,
            "return_state": self.return_state,
            "go_backwards": self.go_backwards,
            "rounders": self.rounders,
            "name": self.name,
        }

    def get_config(self) -> dict[str, Any]:
        # Twice, as in `reuse.serialize`: two loops may have layers in common.
        keras.saving.serialize_keras_object(self.step)
        step = keras.saving.serialize_keras_object(self.step)
        return {**super().get_config(), **self.settings(), "step": step}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Recurrent":
        step = keras.saving.deserialize_keras_object(config["step"])
        return cls(**{**config, "step": step})


@contextmanager
def traced_once(model: keras.Layer) -> Iterator[None]:
    """Around calls of a model whose layers do the same in each: traces loops once.

    Args:
        model: The model; shapes and dtypes of its inputs may differ.
    """
    loops = [part for part in sublayers(model) if isinstance(part, Recurrent)]
    for loop in loops:
        loop._traced = Untracked({})
    try:
        yield
    finally:
        for loop in loops:
            loop._traced = None


def _widened(extremes: Any, watching: list[InLoop]) -> Any:
    """The smallest and the largest values so far; `extremes` holds a pair for each."""
    if not watching:
        return extremes
    # As one tensor: the fewer operations in a loop, the faster it is.
    lows, highs = [], []
    for part in watching:
        low, high = part.seen()
        lows.append(low)
        highs.append(high)
    lows = ops.minimum(extremes[:, 0], ops.stack(lows))
    highs = ops.maximum(extremes[:, 1], ops.stack(highs))
    return ops.stack([lows, highs], axis=1)
