"""`FileLoop`: a loop in the form of which the converter makes integers."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops, tree

from keras_share.layers.recurrent import Recurrent


class FileLoop(Recurrent):
    """A `Recurrent` whose loop has no lists of tensors, and rounds what goes around.

    Between a loop and its body the converter keeps integers only of what is rounded on
    both sides. The places of the sequence are looked up; the outputs so far are one
    tensor, which moves by one place in each step.
    """

    def __init__(self, step: keras.Model, **kwargs: Any):
        super().__init__(step, **kwargs)
        self._roundings = [_rounding(rounder) for rounder in self.rounders]

    def _loop(
        self, sequences: Any, states: Sequence[Any], watching: list, training: Any
    ) -> list[Any]:
        import tensorflow as tf

        first = self.step.outputs[0]
        times, batch = sequences.shape[1], ops.shape(sequences)[0]
        round_x, *round_states, round_y = self._roundings

        def rounded(states: Sequence[Any]) -> list[Any]:
            return [r(s) for r, s in zip(round_states, states, strict=True)]

        def body(i: Any, sequences: Any, states: list, output: Any) -> tuple:
            place = times - 1 - i if self.go_backwards else i
            x = tf.gather(round_x(sequences), place, axis=1)
            y, *new = tree.flatten(self.step([x, *rounded(states)], training=False))
            if self.return_sequences:
                y = ops.expand_dims(y, 1)
                y = ops.concatenate([round_y(output)[:, 1:], y], axis=1)
            return i + 1, sequences, new, y

        length = (times,) if self.return_sequences else ()
        output = ops.zeros((batch, *length, *first.shape[1:]), first.dtype)
        start = rounded(self.initial_states(states, batch))
        _, _, states, output = tf.while_loop(
            lambda i, *_: i < times,
            body,
            (0, round_x(sequences), start, round_y(output)),
        )
        return [output, *states, ops.zeros((0, 2))]


def _rounding(rounder: Any) -> Any:
    """A function that rounds as a `FakeQuantize` does, to numbers that are fixed."""
    if rounder is None:
        return lambda x: x
    import tensorflow as tf

    low, high = rounder.ends()
    narrow = rounder.num_bits > 8

    def rounding(x: Any) -> Any:
        return tf.quantization.fake_quant_with_min_max_args(
            x, low, high, rounder.num_bits, narrow_range=narrow
        )

    return rounding
